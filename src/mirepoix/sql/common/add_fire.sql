-- Decide about a fire time, unless that was done.
INSERT INTO mirepoix_fire (schedule_id, fire_at, due_at, state, reason, cause, revision, task_id, decided_at)
VALUES (:name, :fire_at, :due_at, :state, :reason, :cause, :revision, :task_id, :now)
    ON CONFLICT (schedule_id, fire_at) DO NOTHING
