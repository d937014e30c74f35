-- Tasks of workers that are not alive, which no reaper took back within :grace_s. Nobody runs them.
SELECT t.worker_id, w.name AS worker, count(*) AS tasks, -({seconds_until min(t.leased_at)}) AS oldest_s
  FROM mirepoix_task AS t
  LEFT JOIN mirepoix_worker AS w ON w.id = t.worker_id
 WHERE t.state IN ('leased', 'running')
   AND (w.id IS NULL OR (w.state <> 'alive' AND w.ended_at < {earlier :grace_s})
        OR (w.state = 'alive' AND w.alive_until < {earlier :grace_s}))
 GROUP BY t.worker_id, w.name
