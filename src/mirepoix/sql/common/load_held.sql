-- The tasks that workers hold of each queue: leased and not seen to start, and running.
SELECT queue, sum(CASE WHEN state = 'leased' THEN 1 ELSE 0 END) AS taken,
       sum(CASE WHEN state = 'running' THEN 1 ELSE 0 END) AS running,
       -({seconds_until min(CASE WHEN state = 'leased' THEN leased_at END)}) AS oldest_taken_s,
       -({seconds_until min(CASE WHEN state = 'running' THEN started_at END)}) AS longest_s,
       sum(CASE WHEN state = 'leased' AND leased_at < {earlier :late_s} THEN 1 ELSE 0 END) AS late_taken
  FROM mirepoix_task
 WHERE state IN ('leased', 'running')
 GROUP BY queue
