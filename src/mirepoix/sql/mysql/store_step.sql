-- The fence keeps a lost attempt from storing its step. The lock makes a reaper wait that takes the task back at this
-- moment. Without it the next attempt could look for this step before it is visible, and run it again.
SELECT t.id
  FROM mirepoix_task AS t
  LEFT JOIN mirepoix_step AS s ON s.task_id = t.id AND s.name = :name
 WHERE t.id = :task_id AND t.fence = :fence AND t.worker_id = :worker_id AND t.state IN ('leased', 'running')
   AND s.task_id IS NULL
   FOR UPDATE
;
INSERT INTO mirepoix_step (task_id, name, result, fence, run_time_s)
SELECT id, :name, :result, fence, :run_time_s
  FROM mirepoix_task
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
