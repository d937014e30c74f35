-- The decisions of people about a task, the first one first.
SELECT decided_at, verb, decided_by, reason
  FROM mirepoix_decision
 WHERE task_id = :task_id
 ORDER BY id
