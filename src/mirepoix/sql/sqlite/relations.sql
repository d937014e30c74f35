-- The tables and views that are there, of ours and the one of Django's migrations.
SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND (name LIKE 'mirepoix%' OR name = 'django_migrations')
