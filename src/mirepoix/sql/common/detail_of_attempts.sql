-- All attempts of a task, the first one first.
SELECT h.fence, h.generation, h.outcome, h.worker_id, w.name AS worker, h.pid, h.leased_at, h.started_at, h.finished_at, h.run_time_s,
       h.peak_memory_kb, h.error_type, h.error, h.traceback, h.signal, h.exit_code
  FROM mirepoix_attempt_history AS h
  LEFT JOIN mirepoix_worker AS w ON w.id = h.worker_id
 WHERE h.task_id = :task_id
 ORDER BY h.fence
