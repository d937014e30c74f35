-- The tasks that a task sent, in the order of sending.
SELECT id, name, queue, state, created_at
  FROM mirepoix_task
 WHERE parent_id = :task_id
 ORDER BY created_at, seq
 LIMIT :most
