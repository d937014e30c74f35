-- What a workflow shows of one task.
SELECT id, name, state, due_at, parent_id, group_id, shape FROM mirepoix_task WHERE id = :task_id
