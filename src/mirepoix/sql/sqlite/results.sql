-- The stored result of each id, and the state of its task.
SELECT w.value AS task_id, r.status, r.result, r.content_type, r.traceback, r.meta, t.state AS task_state, t.reason AS task_reason,
       CASE WHEN t.state = 'parked' AND t.parked_for IS NOT NULL THEN -({seconds_until t.finished_at}) END AS parked_s
  FROM json_each(:ids) AS w
  LEFT JOIN mirepoix_result AS r ON r.task_id = w.value
  LEFT JOIN mirepoix_task AS t ON t.id = w.value
