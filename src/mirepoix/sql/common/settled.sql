-- How far an attempt's task has come, and how the attempt ended, for the one whose write was refused.
SELECT t.state, t.fence, t.worker_id, a.outcome
  FROM mirepoix_task AS t
  LEFT JOIN mirepoix_attempt AS a ON a.task_id = t.id AND a.fence = :fence
 WHERE t.id = :task_id
