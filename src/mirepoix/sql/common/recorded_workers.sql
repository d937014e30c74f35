-- The workers that were up within :since_s, the latest starts first, at most :cap.
SELECT id, name, pool, concurrency, {as_text queues} AS queues, -({seconds_until started_at}) AS started_ago_s,
       CASE WHEN state = 'alive' THEN NULL ELSE -({seconds_until ended_at}) END AS ended_ago_s
  FROM mirepoix_worker
 WHERE state = 'alive' OR ended_at > {earlier :since_s}
 ORDER BY started_at DESC
 LIMIT :cap
