-- Every step of one task that is done, in the order in which they were.
SELECT name, fence, created_at AS done_at, run_time_s, result
  FROM mirepoix_step
 WHERE task_id = :task_id
 ORDER BY created_at, name
