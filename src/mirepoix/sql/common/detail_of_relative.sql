-- The columns by which another task is named.
SELECT id, name, queue, state, created_at FROM mirepoix_task WHERE id = :task_id
