-- transition: leased|running -> expired
-- The expiry passed between the lease and the start.
UPDATE mirepoix_task
   SET state = 'expired', reason = :reason, finished_at = {now}
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
RETURNING id, fence, generation, worker_id, leased_at, started_at, name
