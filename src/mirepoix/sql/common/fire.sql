-- The decision about one fire time.
SELECT state, task_id, cause FROM mirepoix_fire WHERE schedule_id = :name AND fire_at = :fire_at
