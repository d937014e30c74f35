-- transition: leased|running -> succeeded
-- Because of the fence, a late write from a lost attempt changes no row. The + keeps the planner from the index on
-- worker_id: each row is found by its id.
UPDATE mirepoix_task AS t
   SET state = 'succeeded', finished_at = strftime('%Y-%m-%d %H:%M:%f', 'now'), run_time_s = r.run_time_s,
       started_at = coalesce(t.started_at,
                             strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || coalesce(r.run_time_s, 0) || ' seconds')),
       peak_memory_kb = r.peak_memory_kb, reason = r.reason, pid = r.pid
  FROM (SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.fence') AS fence,
               json_extract(value, '$.run_time_s') AS run_time_s,
               json_extract(value, '$.peak_memory_kb') AS peak_memory_kb,
               json_extract(value, '$.reason') AS reason, json_extract(value, '$.pid') AS pid
          FROM json_each(:rows)) AS r
 WHERE t.id = r.id AND t.fence = r.fence AND +t.worker_id = :worker_id AND t.state IN ('leased', 'running')
RETURNING id
