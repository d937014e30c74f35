-- The cause of a task's latest failure: it stays when the task waits for another try, or is run again.
UPDATE mirepoix_task
   SET failure_group = :failure_group
 WHERE id = :task_id AND fence = :fence
