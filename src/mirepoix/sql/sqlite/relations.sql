-- The existing tables and views of the ledger, and the table of Django's migrations.
SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND (name LIKE 'mirepoix%' OR name = 'django_migrations')
