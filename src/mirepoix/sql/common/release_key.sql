-- Release the key of a task that was not sent.
DELETE FROM mirepoix_key WHERE id = :key AND task_id = :task_id
