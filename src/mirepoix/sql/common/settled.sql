-- The state of an attempt's task, and the end of the attempt, for an attempt with a refused write.
SELECT t.state, t.fence, t.worker_id, a.outcome
  FROM mirepoix_task AS t
  LEFT JOIN mirepoix_attempt AS a ON a.task_id = t.id AND a.fence = :fence
 WHERE t.id = :task_id
