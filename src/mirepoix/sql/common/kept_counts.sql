-- What is kept until someone decides. Read through the index mirepoix_task_attention.
SELECT state, count(*), -({seconds_until max(finished_at)})
  FROM mirepoix_task
 WHERE state IN ('failed', 'quarantined', 'parked')
 GROUP BY state
