-- transition: leased|running -> cancelled
-- The task was revoked while a worker held it.
UPDATE mirepoix_task
   SET state = 'cancelled', reason = :reason, finished_at = {now}
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
RETURNING id, fence, generation, worker_id, leased_at, started_at, name
