-- Who is told of the end of the task: the latest who asked.
UPDATE mirepoix_key SET callback_to = :callback_to, callback = :callback WHERE id = :key
