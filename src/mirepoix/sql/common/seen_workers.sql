-- The workers that are believed to be alive, the workers that died lately, and what each of them holds.
SELECT w.id, w.name, w.host, w.pid, w.pool, w.concurrency, {as_text w.queues} AS queues, w.state, w.reason,
       -({seconds_until w.started_at}) AS up_s, -({seconds_until w.heartbeat_at}) AS heartbeat_s,
       -({seconds_until w.ended_at}) AS ended_s, CASE WHEN w.alive_until < {now} THEN 1 ELSE 0 END AS is_overdue,
       (SELECT count(*) FROM mirepoix_task AS t WHERE t.worker_id = w.id AND t.state IN ('leased', 'running')) AS held,
       (SELECT count(*) FROM mirepoix_task AS t
         WHERE t.worker_id = w.id AND t.state IN ('leased', 'running') AND t.state = 'running') AS running,
       {seconds_until w.heartbeat_at} - {seconds_until w.maintained_at} AS maintained_s,
       {seconds_until w.alive_until} - {seconds_until w.heartbeat_at} AS ttl_s, {as_text w.software} AS software
  FROM mirepoix_worker AS w
 WHERE w.state = 'alive' OR (w.state = 'dead' AND w.ended_at > {earlier :dead_within_s})
 ORDER BY w.name, w.started_at
