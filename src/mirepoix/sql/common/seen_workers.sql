-- The workers that are believed to be alive, those that died lately, and what each of them holds.
SELECT w.id, w.name, w.host, w.pid, w.pool, w.concurrency, {as_text w.queues}, w.state, w.reason,
       -({seconds_until w.started_at}), -({seconds_until w.heartbeat_at}), -({seconds_until w.ended_at}),
       CASE WHEN w.alive_until < {now} THEN 1 ELSE 0 END,
       (SELECT count(*) FROM mirepoix_task AS t WHERE t.worker_id = w.id AND t.state IN ('leased', 'running')),
       (SELECT count(*) FROM mirepoix_task AS t
         WHERE t.worker_id = w.id AND t.state IN ('leased', 'running') AND t.state = 'running'),
       {seconds_until w.heartbeat_at} - {seconds_until w.maintained_at},
       {seconds_until w.alive_until} - {seconds_until w.heartbeat_at}, {as_text w.software}
  FROM mirepoix_worker AS w
 WHERE w.state = 'alive' OR (w.state = 'dead' AND w.ended_at > {earlier :dead_within_s})
 ORDER BY w.name, w.started_at
