-- What is known of each id: its stored result, and where its task is.
SELECT w.id, r.status, r.result, r.content_type, r.traceback, r.meta, t.state, t.reason
  FROM json_array_elements_text(CAST(:ids AS json)) AS w(id)
  LEFT JOIN mirepoix_result AS r ON r.task_id = w.id
  LEFT JOIN mirepoix_task AS t ON t.id = w.id
