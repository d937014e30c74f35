-- The kept tasks of a group, the oldest failure first.
SELECT id AS task_id, fence
  FROM mirepoix_task
 WHERE failure_group = :failure_group AND state IN ('failed', 'quarantined')
 ORDER BY finished_at, seq
 LIMIT :most
