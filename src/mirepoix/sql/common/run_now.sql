-- transition: pending -> pending
-- A person decided not to wait for a retry or an ETA. A task that is held goes on being held.
UPDATE mirepoix_task
   SET due_at = NULL, requeued_at = {now}
 WHERE id = :task_id AND state = 'pending' AND due_at IS NOT NULL AND due_at < {held_until}
RETURNING id
