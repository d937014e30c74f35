-- The calls of a limit key that have not ended, at most :most of them.
SELECT id, state, seq
  FROM mirepoix_task INDEXED BY mirepoix_task_calls
 WHERE limit_key = :key AND state IN ('pending', 'leased', 'running') AND limit_key IS NOT NULL
 LIMIT :most
