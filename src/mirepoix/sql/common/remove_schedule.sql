-- Remove a schedule. Its row stays, with its fire times.
UPDATE mirepoix_schedule
   SET removed_at = :now, next_fire_at = NULL, next_due_at = NULL, revision = revision + 1, changed_at = :now,
       changed_by = :by
 WHERE id = :name AND removed_at IS NULL
