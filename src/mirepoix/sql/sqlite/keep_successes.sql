-- Only the task's row records a success. Before the id begins a new generation, the success gets its own row.
INSERT INTO mirepoix_attempt (task_id, fence, generation, outcome, worker_id, pid, leased_at, started_at, finished_at,
                              run_time_s, peak_memory_kb, name, queue, waited_s)
SELECT id, fence, generation, state, worker_id, pid, leased_at, started_at, finished_at, run_time_s, peak_memory_kb,
       name, queue, waited_s
  FROM mirepoix_task
 WHERE state = 'succeeded' AND fence > 0
   AND id IN (SELECT json_extract(value, '$.id') FROM json_each(:rows))
    ON CONFLICT (task_id, fence) DO NOTHING
