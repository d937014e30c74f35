-- The fence keeps a lost attempt from storing its step. The lock makes a reaper wait that takes the task back at this
-- moment. Without it the next attempt could look for this step before it is visible, and run it again.
INSERT INTO mirepoix_step (task_id, name, result, fence, run_time_s)
SELECT id, :name, :result, fence, CAST(:run_time_s AS double precision)
  FROM mirepoix_task
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
   FOR SHARE
    ON CONFLICT (task_id, name) DO NOTHING
