-- The body of a task, for a comparison with another call.
SELECT content_type, body_encoding, body FROM mirepoix_task WHERE id = :task_id
