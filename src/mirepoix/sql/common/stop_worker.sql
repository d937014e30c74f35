-- The worker ended normally.
UPDATE mirepoix_worker
   SET state = 'stopped', ended_at = {now}
 WHERE id = :worker_id AND state = 'alive'
RETURNING id
