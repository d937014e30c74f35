-- What workers hold of each queue: taken and not seen to start, and running.
SELECT queue, sum(CASE WHEN state = 'leased' THEN 1 ELSE 0 END), sum(CASE WHEN state = 'running' THEN 1 ELSE 0 END),
       -({seconds_until min(CASE WHEN state = 'leased' THEN leased_at END)}),
       -({seconds_until min(CASE WHEN state = 'running' THEN started_at END)}),
       sum(CASE WHEN state = 'leased' AND leased_at < {earlier :late_s} THEN 1 ELSE 0 END)
  FROM mirepoix_task
 WHERE state IN ('leased', 'running')
 GROUP BY queue
