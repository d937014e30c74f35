-- The key of a task that was not sent after all.
DELETE FROM mirepoix_key WHERE id = :key AND task_id = :task_id
