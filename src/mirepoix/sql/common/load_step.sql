-- The return value of a step of this task, and the attempt that ran it. Nulls: the step has not run. No row: the lease
-- was lost.
SELECT s.result, s.fence
  FROM mirepoix_task AS t
  LEFT JOIN mirepoix_step AS s ON s.task_id = t.id AND s.name = :name
 WHERE t.id = :task_id AND t.fence = :fence AND t.worker_id = :worker_id AND t.state IN ('leased', 'running')
