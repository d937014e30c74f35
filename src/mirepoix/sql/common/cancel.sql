-- transition: pending|parked -> cancelled
-- A waiting task never starts after this commits.
UPDATE mirepoix_task
   SET state = 'cancelled', reason = :reason, finished_at = {now}
 WHERE id = :task_id AND state IN ('pending', 'parked')
RETURNING id
