-- The tasks that run now, the longest first, at most :cap. A worker may have held a task long before it began to run, so
-- the time counts from the start. It uses the index on the tasks that workers hold.
SELECT t.id, t.name, t.queue, t.worker_id, w.name AS worker, -({seconds_until t.started_at}) AS running_s
  FROM mirepoix_task AS t
  LEFT JOIN mirepoix_worker AS w ON w.id = t.worker_id
 WHERE t.state IN ('leased', 'running') AND t.state = 'running'
 ORDER BY t.started_at
 LIMIT :cap
