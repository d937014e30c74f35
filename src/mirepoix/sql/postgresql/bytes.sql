-- The size of the ledger on disk: its tables with their indexes and texts.
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) AS bytes
  FROM pg_class AS c
 WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'mirepoix_task'::regclass)
   AND c.relkind = 'r' AND c.relname LIKE 'mirepoix\_%'
