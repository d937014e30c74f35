-- The runs of a schedule that wait or run, the oldest first. SQLite would read all fire times of the schedule.
SELECT f.fire_at, f.task_id, t.state AS task_state
  FROM mirepoix_fire AS f INDEXED BY mirepoix_fire_open
  JOIN mirepoix_task AS t ON t.id = f.task_id
 WHERE f.schedule_id = :name AND f.state IN ('sent', 'buffered') AND f.state = 'sent'
   AND t.state IN ('pending', 'leased', 'running')
 ORDER BY f.fire_at
