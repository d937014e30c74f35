-- A worker was notified of these tasks and did not get them. Returns which of them the ledger knows, and which wait to
-- be taken.
SELECT t.id,
       CASE WHEN t.state = 'pending' AND t.due_at IS NULL AND t.limit_key IS NULL AND (t.expires_at IS NULL OR t.expires_at > {now}) THEN 1 ELSE 0 END AS is_ready
  FROM json_array_elements_text(CAST(:ids AS json)) AS w(id)
 CROSS JOIN LATERAL (SELECT id, state, due_at, expires_at, limit_key FROM mirepoix_task WHERE id = w.id OFFSET 0) AS t
