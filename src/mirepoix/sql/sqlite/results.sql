-- What is known of each id: its stored result, and where its task is.
SELECT w.value, r.status, r.result, r.content_type, r.traceback, r.meta, t.state, t.reason,
       CASE WHEN t.state = 'parked' AND t.parked_for IS NOT NULL THEN -({seconds_until t.finished_at}) END
  FROM json_each(:ids) AS w
  LEFT JOIN mirepoix_result AS r ON r.task_id = w.value
  LEFT JOIN mirepoix_task AS t ON t.id = w.value
