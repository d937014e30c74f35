-- What a task that waits or runs calls, and what it follows from, for one that is sent with its id.
SELECT name, parent_id, body
  FROM mirepoix_task
 WHERE id = :task_id AND state NOT IN ('succeeded', 'failed', 'cancelled', 'expired')
