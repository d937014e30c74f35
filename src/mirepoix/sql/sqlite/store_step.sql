-- The fence keeps a lost attempt from storing its step. SQLite has one writer at a time, so no row needs a lock.
INSERT INTO mirepoix_step (task_id, name, result, fence, run_time_s)
SELECT id, :name, :result, fence, :run_time_s
  FROM mirepoix_task
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
    ON CONFLICT (task_id, name) DO NOTHING
