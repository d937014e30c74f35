-- The schedules of these names.
SELECT id, owner, app, task, definition, revision, created_at, changed_at, changed_by, fired_until, next_fire_at,
       next_due_at, failures, paused_at, paused_by, paused_reason, removed_at
  FROM mirepoix_schedule
 WHERE id IN (SELECT value FROM json_array_elements_text(CAST(:names AS json)) AS w(value))
