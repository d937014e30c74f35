-- One row for each attempt without success. The task's row records a success. A retry may have changed the task's name
-- before this, so it gives the name that the attempt had.
INSERT INTO mirepoix_attempt (task_id, fence, generation, outcome, worker_id, pid, leased_at, started_at, run_time_s,
                              peak_memory_kb, error_type, error, traceback, signal, exit_code, failure_group,
                              name, queue, waited_s)
SELECT json_extract(value, '$.task_id'), json_extract(value, '$.fence'), json_extract(value, '$.generation'),
       json_extract(value, '$.outcome'), json_extract(value, '$.worker_id'), json_extract(value, '$.pid'),
       json_extract(value, '$.leased_at'), json_extract(value, '$.started_at'), json_extract(value, '$.run_time_s'),
       json_extract(value, '$.peak_memory_kb'), json_extract(value, '$.error_type'), json_extract(value, '$.error'),
       json_extract(value, '$.traceback'), json_extract(value, '$.signal'), json_extract(value, '$.exit_code'),
       json_extract(value, '$.failure_group'), coalesce(json_extract(value, '$.name'), t.name), t.queue, t.waited_s
  FROM json_each(:rows)
 CROSS JOIN mirepoix_task AS t ON t.id = json_extract(value, '$.task_id')
 WHERE true
    ON CONFLICT (task_id, fence) DO NOTHING
