-- One row for each attempt without success. The task's row records a success. A retry may have changed the task's name
-- before this, so it gives the name that the attempt had.
INSERT INTO mirepoix_attempt (task_id, fence, generation, outcome, worker_id, pid, leased_at, started_at, run_time_s,
                              peak_memory_kb, error_type, error, traceback, signal, exit_code, failure_group,
                              name, queue, waited_s)
SELECT r.task_id, r.fence, r.generation, r.outcome, r.worker_id, r.pid, r.leased_at, r.started_at, r.run_time_s,
       r.peak_memory_kb, r.error_type, r.error, r.traceback, r.signal, r.exit_code,
       r.failure_group, coalesce(r.name, t.name), t.queue, t.waited_s
  FROM json_to_recordset(CAST(:rows AS json)) AS r(
       task_id text, fence int, generation int, outcome text, worker_id text, pid int, leased_at timestamptz,
       started_at timestamptz, run_time_s float8, peak_memory_kb bigint, error_type text, error text, traceback text,
       signal int, exit_code int, failure_group text, name text)
 CROSS JOIN LATERAL (SELECT name, queue, waited_s FROM mirepoix_task WHERE id = r.task_id OFFSET 0) AS t
    ON CONFLICT (task_id, fence) DO NOTHING
