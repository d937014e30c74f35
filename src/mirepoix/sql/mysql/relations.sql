-- The tables and views that are there, of ours and the one of Django's migrations.
SELECT table_name AS name
  FROM information_schema.tables
 WHERE table_schema = DATABASE() AND (table_name LIKE 'mirepoix%' OR table_name = 'django_migrations')
