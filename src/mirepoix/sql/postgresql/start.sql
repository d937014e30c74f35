-- transition: leased -> running
-- From here on a death of the process is blamed on this task.
UPDATE mirepoix_task AS t
   SET state = 'running', started_at = statement_timestamp() - r.age_s * interval '1 second', pid = r.pid
  FROM json_to_recordset(CAST(:rows AS json)) AS r(id text, fence int, age_s float8, pid int)
 WHERE t.id = r.id AND t.fence = r.fence AND t.worker_id = :worker_id AND t.state = 'leased'
RETURNING t.id
