-- transition: pending -> pending
-- A person postponed a waiting task. It is not made due earlier. With a broker the relay publishes it when it is due.
UPDATE mirepoix_task
   SET due_at = {later :delay_s}, eta = {later :delay_s}, held_by = NULL,
       sent_fence = CASE WHEN sent_fence IS NOT NULL THEN -1 END
 WHERE id = :task_id AND state = 'pending'
   AND (due_at IS NULL OR due_at = {held_until} OR due_at < {later :delay_s})
RETURNING id
