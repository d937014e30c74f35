-- A paused schedule goes on.
UPDATE mirepoix_schedule
   SET paused_at = NULL, paused_by = NULL, paused_reason = NULL, failures = 0, revision = revision + 1
 WHERE id = :name AND paused_at IS NOT NULL AND removed_at IS NULL
