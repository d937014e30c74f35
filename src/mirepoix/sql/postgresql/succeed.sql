-- transition: leased|running -> succeeded
-- Because of the fence, a late write from a lost attempt changes no row.
UPDATE mirepoix_task AS t
   SET state = 'succeeded', finished_at = statement_timestamp(), run_time_s = r.run_time_s,
       started_at = coalesce(t.started_at, statement_timestamp() - coalesce(r.run_time_s, 0) * interval '1 second'),
       peak_memory_kb = r.peak_memory_kb, reason = r.reason, pid = r.pid
  FROM json_to_recordset(CAST(:rows AS json)) AS r(id text, fence int, run_time_s float8, peak_memory_kb bigint, reason text, pid int)
 WHERE t.id = r.id AND t.fence = r.fence AND t.worker_id = :worker_id AND t.state IN ('leased', 'running')
RETURNING t.id
