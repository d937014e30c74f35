-- The schedules of these names.
SELECT s.id, s.owner, s.app, s.task, s.definition, s.revision, s.created_at, s.changed_at, s.changed_by, s.fired_until,
       s.next_fire_at, s.next_due_at, s.failures, s.paused_at, s.paused_by, s.paused_reason, s.removed_at
  FROM JSON_TABLE({json :names}, '$[*]' COLUMNS (id {id} PATH '$')) AS w
  STRAIGHT_JOIN mirepoix_schedule AS s ON s.id = w.id
