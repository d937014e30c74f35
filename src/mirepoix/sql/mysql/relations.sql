-- The existing tables and views of the ledger, and the table of Django's migrations.
SELECT table_name AS name
  FROM information_schema.tables
 WHERE table_schema = DATABASE() AND (table_name LIKE 'mirepoix%' OR table_name = 'django_migrations')
