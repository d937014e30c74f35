-- transition: failed|quarantined|parked -> cancelled
-- Someone decided that it need not run.
UPDATE mirepoix_task
   SET state = 'cancelled', reason = :reason, finished_at = {now}
 WHERE id = :task_id AND state IN ('failed', 'quarantined', 'parked')
RETURNING id
