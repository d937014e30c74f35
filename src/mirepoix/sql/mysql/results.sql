-- The stored result of each id, and the state of its task.
SELECT w.id AS task_id, r.status, r.result, r.content_type, r.traceback, r.meta, t.state AS task_state, t.reason AS task_reason,
       CASE WHEN t.state = 'parked' AND t.parked_for IS NOT NULL THEN -({seconds_until t.finished_at}) END AS parked_s
  FROM JSON_TABLE({json :ids}, '$[*]' COLUMNS (id {id} PATH '$')) AS w
  LEFT JOIN mirepoix_result AS r ON r.task_id = w.id
  LEFT JOIN mirepoix_task AS t ON t.id = w.id
