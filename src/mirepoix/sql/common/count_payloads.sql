-- The number of payloads of each kind of call, by state: waiting, running, and kept for a person's decision.
SELECT shape, state, count(*) AS tasks, min(created_at) AS oldest_at, min(id) AS example_id
  FROM mirepoix_task
 WHERE state = 'pending' AND shape IS NOT NULL
 GROUP BY shape, state
UNION ALL
SELECT shape, state, count(*) AS tasks, min(created_at) AS oldest_at, min(id) AS example_id
  FROM mirepoix_task
 WHERE state IN ('leased', 'running') AND shape IS NOT NULL
 GROUP BY shape, state
UNION ALL
SELECT shape, state, count(*) AS tasks, min(created_at) AS oldest_at, min(id) AS example_id
  FROM mirepoix_task
 WHERE state IN ('failed', 'quarantined', 'parked') AND shape IS NOT NULL AND (state <> 'parked' OR parked_for IS NOT NULL)
 GROUP BY shape, state
