-- What one task sent, in the order in which it was sent.
SELECT id, name, queue, state, created_at
  FROM mirepoix_task
 WHERE parent_id = :task_id
 ORDER BY created_at, seq
 LIMIT :most
