-- All finished steps of a task, in order.
SELECT name, fence, created_at AS done_at, run_time_s, result
  FROM mirepoix_step
 WHERE task_id = :task_id
 ORDER BY created_at, name
