-- The edits of payloads, the latest first.
SELECT e.task_id, t.name, e.edited_at, e.edited_by, e.reason
  FROM mirepoix_edit AS e
  LEFT JOIN mirepoix_task AS t ON t.id = e.task_id
 ORDER BY e.id DESC
 LIMIT :most
