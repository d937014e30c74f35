-- transition: pending -> cancelled
-- A sender ends a call because its limit has no room. A call that a worker has just taken is left alone.
UPDATE mirepoix_task
   SET state = 'cancelled', reason = :reason, finished_at = {now}
 WHERE id = :task_id AND state = 'pending'
RETURNING id
