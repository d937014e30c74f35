-- The number of tasks that wait for a person's decision. It uses the index mirepoix_task_attention.
SELECT state, count(*) AS tasks, -({seconds_until max(finished_at)}) AS newest_s
  FROM mirepoix_task
 WHERE state IN ('failed', 'quarantined', 'parked')
 GROUP BY state
