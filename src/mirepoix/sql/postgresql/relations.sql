-- The existing tables and views of the ledger, and the table of Django's migrations, as unqualified names resolve.
SELECT relname AS name
  FROM pg_class
 WHERE relkind IN ('r', 'p', 'v') AND pg_table_is_visible(oid)
   AND (relname LIKE 'mirepoix%' OR relname = 'django_migrations')
