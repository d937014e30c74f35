-- The latest fire times of a schedule, the newest first.
SELECT f.fire_at, f.due_at, f.state, f.reason, f.cause, f.revision, f.task_id, f.decided_at, f.ended_at,
       t.state AS task_state, t.started_at AS task_started_at
  FROM mirepoix_fire AS f
  LEFT JOIN mirepoix_task AS t ON t.id = f.task_id
 WHERE f.schedule_id = :name
 ORDER BY f.fire_at DESC
 LIMIT :batch
