-- The cause of a task's latest failure. It stays while the task waits for another attempt or runs again. A second
-- failure of the same cause writes nothing.
UPDATE mirepoix_task
   SET failure_group = :failure_group
 WHERE id = :task_id AND fence = :fence AND (failure_group IS NULL OR failure_group <> :failure_group)
