-- The tables and views that are there, of ours and the one of Django's migrations: those that a plain name means.
SELECT relname AS name
  FROM pg_class
 WHERE relkind IN ('r', 'p', 'v') AND pg_table_is_visible(oid)
   AND (relname LIKE 'mirepoix%' OR relname = 'django_migrations')
