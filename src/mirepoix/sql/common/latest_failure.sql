-- The latest attempt of a task that failed by that cause.
SELECT a.fence, a.outcome, a.finished_at, a.error_type, a.error, a.traceback
  FROM mirepoix_attempt AS a
 WHERE a.task_id = :task_id AND a.failure_group = :failure_group
 ORDER BY a.fence DESC
 LIMIT 1
