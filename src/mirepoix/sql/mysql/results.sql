-- What is known of each id: its stored result, and where its task is.
SELECT w.id, r.status, r.result, r.content_type, r.traceback, r.meta, t.state, t.reason,
       CASE WHEN t.state = 'parked' AND t.parked_for IS NOT NULL THEN -({seconds_until t.finished_at}) END
  FROM JSON_TABLE({json :ids}, '$[*]' COLUMNS (id {id} PATH '$')) AS w
  LEFT JOIN mirepoix_result AS r ON r.task_id = w.id
  LEFT JOIN mirepoix_task AS t ON t.id = w.id
