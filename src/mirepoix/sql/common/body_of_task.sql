-- What a task was sent with, for those who compare it with another call.
SELECT content_type, body_encoding, body FROM mirepoix_task WHERE id = :task_id
