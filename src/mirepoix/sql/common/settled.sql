-- How far an attempt's task has come, for the one whose write was refused.
SELECT state, fence FROM mirepoix_task WHERE id = :task_id
