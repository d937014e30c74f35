-- One row for each attempt without success. The task's row records a success. A retry may have changed the task's name
-- before this, so it gives the name that the attempt had.
INSERT INTO mirepoix_attempt (task_id, fence, generation, outcome, worker_id, pid, leased_at, started_at, run_time_s,
                              peak_memory_kb, error_type, error, traceback, `signal`, exit_code, failure_group,
                              name, queue, waited_s)
SELECT r.task_id, r.fence, r.generation, r.outcome, r.worker_id, r.pid, r.leased_at, r.started_at, r.run_time_s,
       r.peak_memory_kb, r.error_type, r.error, r.traceback, r.signal_number, r.exit_code,
       r.failure_group, coalesce(r.name, t.name), t.queue, t.waited_s
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (
           task_id {id} PATH '$.task_id', fence int PATH '$.fence', generation int PATH '$.generation',
           outcome {text} PATH '$.outcome', worker_id {text} PATH '$.worker_id', pid int PATH '$.pid',
           leased_at {text} PATH '$.leased_at', started_at {text} PATH '$.started_at',
           run_time_s double PATH '$.run_time_s', peak_memory_kb bigint PATH '$.peak_memory_kb',
           error_type {text} PATH '$.error_type', error {text} PATH '$.error', traceback {text} PATH '$.traceback',
           signal_number int PATH '$.signal', exit_code int PATH '$.exit_code',
           failure_group {id} PATH '$.failure_group', name {text} PATH '$.name')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.task_id
    ON DUPLICATE KEY UPDATE outcome = mirepoix_attempt.outcome
