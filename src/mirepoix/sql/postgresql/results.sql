-- The stored result of each id, and the state of its task. LATERAL with OFFSET 0 finds each row by its id. Without it
-- the planner, which does not know how few ids there are, reads both tables completely.
SELECT w.id AS task_id, r.status, r.result, r.content_type, r.traceback, r.meta, t.state AS task_state, t.reason AS task_reason,
       CASE WHEN t.state = 'parked' AND t.parked_for IS NOT NULL THEN -({seconds_until t.finished_at}) END AS parked_s
  FROM json_array_elements_text(CAST(:ids AS json)) AS w(id)
  LEFT JOIN LATERAL (
       SELECT status, result, content_type, traceback, meta FROM mirepoix_result WHERE task_id = w.id OFFSET 0) AS r ON true
  LEFT JOIN LATERAL (SELECT state, reason, parked_for, finished_at FROM mirepoix_task WHERE id = w.id OFFSET 0) AS t ON true
