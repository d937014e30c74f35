-- The calls of a limit key that have not ended, which a sender counts if its call is to be dropped at the limit, or to
-- cancel older ones. Tasks without a limit are not in it.
CREATE INDEX mirepoix_task_calls ON mirepoix_task (limit_key)
 WHERE state IN ('pending', 'leased', 'running') AND limit_key IS NOT NULL;
