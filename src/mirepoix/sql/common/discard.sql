-- transition: failed|quarantined|parked -> cancelled
-- A person decided that the task is not needed.
UPDATE mirepoix_task
   SET state = 'cancelled', reason = :reason, finished_at = {now}
 WHERE id = :task_id AND state IN ('failed', 'quarantined', 'parked')
RETURNING id
