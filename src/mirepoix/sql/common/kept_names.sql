-- The tasks of one state that are kept until someone decides, by name.
SELECT name, count(*) AS tasks, max(id) AS task_id, max(queue) AS queue
  FROM mirepoix_task
 WHERE state IN ('failed', 'quarantined', 'parked') AND state = :state
 GROUP BY name
