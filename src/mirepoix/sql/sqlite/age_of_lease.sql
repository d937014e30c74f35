-- The age of a task with a valid lease, since it was sent or last failed for good; and the time in milliseconds since
-- 1970.
SELECT -({seconds_until coalesce((SELECT max(a.finished_at) FROM mirepoix_attempt AS a
                                   WHERE a.task_id = t.id AND a.outcome = 'failed'), t.created_at)}) AS age_s,
       CAST((julianday('now') - 2440587.5) * 86400000 AS integer) AS now_ms
  FROM mirepoix_task AS t
 WHERE t.id = :task_id AND t.fence = :fence AND t.worker_id = :worker_id AND t.state IN ('leased', 'running')
