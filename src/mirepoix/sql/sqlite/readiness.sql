-- Of the tasks that a worker was rung for and did not get: which the ledger knows, and which of them wait to be taken.
SELECT id, CASE WHEN state = 'pending' AND due_at IS NULL AND (expires_at IS NULL OR expires_at > {now}) THEN 1 ELSE 0 END AS is_ready
  FROM mirepoix_task
 WHERE id IN (SELECT value FROM json_each(:ids))
