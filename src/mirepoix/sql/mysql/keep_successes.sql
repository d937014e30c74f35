-- Only the task's row records a success. Before the id begins a new generation, the success gets its own row.
INSERT INTO mirepoix_attempt (task_id, fence, generation, outcome, worker_id, pid, leased_at, started_at, finished_at,
                              run_time_s, peak_memory_kb, name, queue, waited_s)
SELECT t.id, t.fence, t.generation, t.state, t.worker_id, t.pid, t.leased_at, t.started_at, t.finished_at, t.run_time_s,
       t.peak_memory_kb, t.name, t.queue, t.waited_s
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (id {id} PATH '$.id')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
 WHERE t.state = 'succeeded' AND t.fence > 0
    ON DUPLICATE KEY UPDATE outcome = mirepoix_attempt.outcome
