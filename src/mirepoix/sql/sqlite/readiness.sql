-- A worker was notified of these tasks and did not get them. Returns which of them the ledger knows, and which wait to
-- be taken.
SELECT id, CASE WHEN state = 'pending' AND due_at IS NULL AND limit_key IS NULL AND (expires_at IS NULL OR expires_at > {now}) THEN 1 ELSE 0 END AS is_ready
  FROM mirepoix_task
 WHERE id IN (SELECT value FROM json_each(:ids))
