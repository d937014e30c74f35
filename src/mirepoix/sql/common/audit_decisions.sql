-- The decisions of people before :before, the latest first.
SELECT d.id, d.task_id, t.name, d.decided_at, d.verb, d.decided_by, d.reason
  FROM mirepoix_decision AS d
  LEFT JOIN mirepoix_task AS t ON t.id = d.task_id
 WHERE d.id < :before
 ORDER BY d.id DESC
 LIMIT :most
