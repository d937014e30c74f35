-- The runs that have ended, and whose end is not recorded. SQLite uses the index of open fire times only for its own
-- condition.
SELECT f.schedule_id, f.fire_at, t.state AS task_state, t.reason AS task_reason
  FROM mirepoix_fire AS f
  LEFT JOIN mirepoix_task AS t ON t.id = f.task_id
 WHERE f.state IN ('sent', 'buffered') AND f.state = 'sent'
   AND (t.id IS NULL OR t.state IN ('succeeded', 'failed', 'quarantined', 'cancelled', 'expired'))
 ORDER BY f.schedule_id, f.fire_at
 LIMIT :batch
