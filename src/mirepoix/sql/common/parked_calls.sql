-- The parked tasks, each kind of call once for every reason and queue, the most frequent first. A reason may contain
-- values, so its beginning distinguishes it from others. It uses the index mirepoix_task_attention.
SELECT name, version, shape, parked_for, substr(reason, 1, 300) AS short_reason, queue, count(*) AS tasks,
       -({seconds_until min(finished_at)}) AS oldest_s, -({seconds_until max(finished_at)}) AS newest_s, min(id) AS example_id
  FROM mirepoix_task
 WHERE state IN ('failed', 'quarantined', 'parked') AND state = 'parked'
 GROUP BY name, version, shape, parked_for, substr(reason, 1, 300), queue
 ORDER BY count(*) DESC, min(id)
 LIMIT :most
