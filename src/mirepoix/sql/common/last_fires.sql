-- The latest fire time of each schedule.
SELECT f.schedule_id, f.fire_at, f.state, f.reason, f.task_id
  FROM mirepoix_schedule AS s
  JOIN mirepoix_fire AS f
    ON f.schedule_id = s.id AND f.fire_at = (SELECT max(g.fire_at) FROM mirepoix_fire AS g WHERE g.schedule_id = s.id)
 WHERE s.removed_at IS NULL
 ORDER BY f.schedule_id
