-- transition: leased -> running
-- From here on a death of the process is blamed on this task. The + keeps the planner from the index on worker_id: each
-- row is found by its id.
UPDATE mirepoix_task AS t
   SET state = 'running', started_at = strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || r.age_s || ' seconds'), pid = r.pid
  FROM (SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.fence') AS fence,
               json_extract(value, '$.age_s') AS age_s, json_extract(value, '$.pid') AS pid
          FROM json_each(:rows)) AS r
 WHERE t.id = r.id AND t.fence = r.fence AND +t.worker_id = :worker_id AND t.state = 'leased'
RETURNING id
