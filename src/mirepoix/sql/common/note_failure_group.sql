-- The cause of a task's latest failure: it stays when the task waits for another try, or is run again. A task that fails by the
-- same cause again is not written again.
UPDATE mirepoix_task
   SET failure_group = :failure_group
 WHERE id = :task_id AND fence = :fence AND (failure_group IS NULL OR failure_group <> :failure_group)
