-- The tasks of a state that wait for a person's decision, by name.
SELECT name, count(*) AS tasks, max(id) AS task_id, max(queue) AS queue
  FROM mirepoix_task
 WHERE state IN ('failed', 'quarantined', 'parked') AND state = :state
 GROUP BY name
