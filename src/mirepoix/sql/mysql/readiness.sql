-- A worker was notified of these tasks and did not get them. Returns which of them the ledger knows, and which wait to
-- be taken.
SELECT t.id,
       CASE WHEN t.state = 'pending' AND t.due_at IS NULL AND t.limit_key IS NULL AND (t.expires_at IS NULL OR t.expires_at > {now}) THEN 1 ELSE 0 END AS is_ready
  FROM JSON_TABLE({json :ids}, '$[*]' COLUMNS (id {id} PATH '$')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
