-- The calls of a limit key that have not ended, which a sender counts if its call is to be dropped at the limit, or to
-- cancel older ones. Tasks without a limit are not in it.
-- "mirepoix migrate" builds the index before this script, while senders write (mirepoix.operations.indexes). A statement
-- that repeats its condition can use no other index.
CREATE INDEX IF NOT EXISTS mirepoix_task_calls ON mirepoix_task (limit_key)
 WHERE CASE WHEN state IN ('pending', 'leased', 'running') THEN limit_key END IS NOT NULL;
