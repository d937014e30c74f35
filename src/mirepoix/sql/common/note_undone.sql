UPDATE mirepoix_replayed SET undone_at = {now} WHERE replay_id = :replay_id AND task_id = :task_id
