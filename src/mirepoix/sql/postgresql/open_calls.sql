-- The calls of a limit key that have not ended, at most :most of them. The condition is that of the index
-- mirepoix_task_calls. Only that index has them in this order. Without it the planner would read the table until it has
-- found so many, if most rows have the key.
SELECT id, state, seq
  FROM mirepoix_task
 WHERE limit_key >= :key AND limit_key <= :key
   AND CASE WHEN state IN ('pending', 'leased', 'running') THEN limit_key END IS NOT NULL
 ORDER BY limit_key
 LIMIT :most
