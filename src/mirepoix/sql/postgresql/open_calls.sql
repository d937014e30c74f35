-- The calls of a limit key that have not ended, at most :most of them. The condition is that of the index
-- mirepoix_task_calls. They are not sorted here, because the planner might then walk over the whole table in that order.
SELECT id, state, seq
  FROM mirepoix_task
 WHERE limit_key = :key AND CASE WHEN state IN ('pending', 'leased', 'running') THEN limit_key END IS NOT NULL
 LIMIT :most
