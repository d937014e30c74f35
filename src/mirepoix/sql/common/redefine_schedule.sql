-- A schedule gets another definition. Its earlier fire times are decided up to :was_until, which is guarded.
UPDATE mirepoix_schedule
   SET owner = :owner, app = :app, task = :task, definition = :definition, revision = revision + 1, changed_at = :now,
       changed_by = :by, fired_until = :until, next_fire_at = :next_fire_at, next_due_at = :next_due_at,
       removed_at = NULL
 WHERE id = :name AND revision = :revision AND fired_until = :was_until
