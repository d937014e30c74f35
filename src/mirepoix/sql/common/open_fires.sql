-- The runs of a schedule that wait or run, the oldest first.
SELECT f.fire_at, f.task_id, t.state AS task_state
  FROM mirepoix_fire AS f
  JOIN mirepoix_task AS t ON t.id = f.task_id
 WHERE f.schedule_id = :name AND f.state = 'sent' AND t.state IN ('pending', 'leased', 'running')
 ORDER BY f.fire_at
