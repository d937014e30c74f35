-- Record a schedule, unless there is one of that name.
INSERT IGNORE INTO mirepoix_schedule (id, owner, app, task, definition, revision, created_at, changed_at, changed_by, fired_until,
                               next_fire_at, next_due_at)
VALUES (:name, :owner, :app, :task, :definition, 0, :now, :now, :by, :now, :next_fire_at, :next_due_at)
