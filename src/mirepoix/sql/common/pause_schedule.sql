-- Pause a schedule. The revision rises, so that a worker that read it before does not fire it.
UPDATE mirepoix_schedule
   SET paused_at = :now, paused_by = :by, paused_reason = :reason, revision = revision + 1
 WHERE id = :name AND paused_at IS NULL AND removed_at IS NULL
