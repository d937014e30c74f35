-- The fire times that wait for the end of an earlier run, the oldest of each schedule first.
SELECT f.schedule_id, f.fire_at, f.cause
  FROM mirepoix_fire AS f
  JOIN mirepoix_schedule AS s ON s.id = f.schedule_id
 WHERE f.state = 'buffered' AND s.removed_at IS NULL AND s.paused_at IS NULL
 ORDER BY f.schedule_id, f.fire_at
