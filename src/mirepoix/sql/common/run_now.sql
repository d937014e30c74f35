-- transition: pending -> pending
-- Someone decided that a retry, or a task with an eta, shall not wait.
UPDATE mirepoix_task
   SET due_at = NULL, requeued_at = {now}
 WHERE id = :task_id AND state = 'pending' AND due_at IS NOT NULL
RETURNING id
