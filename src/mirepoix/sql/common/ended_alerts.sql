-- The alerts that are over, the latest first.
SELECT id, kind, subject, title, name, task_id, queue, in_release, occasion, opened_at, closed_at
  FROM mirepoix_alert
 WHERE closed_at IS NOT NULL
 ORDER BY closed_at DESC, id
 LIMIT :most
