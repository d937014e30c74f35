DELETE FROM mirepoix_result WHERE task_id = :task_id
