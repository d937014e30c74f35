-- The call and the origin of a task that waits or runs, to compare them with a call that is sent with the same id.
SELECT name, parent_id, body
  FROM mirepoix_task
 WHERE id = :task_id AND state NOT IN ('succeeded', 'failed', 'cancelled', 'expired')
