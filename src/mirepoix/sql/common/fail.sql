-- transition: leased|running -> failed
-- The row is kept, with its traceback in mirepoix_attempt, until a person decides.
UPDATE mirepoix_task
   SET state = 'failed', reason = :reason, finished_at = {now}, run_time_s = :run_time_s,
       peak_memory_kb = :peak_memory_kb, pid = :pid
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
RETURNING id, fence, generation, worker_id, leased_at, started_at, name
