-- Who has the slots of a key.
SELECT id, name, state, worker_id
  FROM mirepoix_task
 WHERE limit_key = :key AND state IN ('leased', 'running') AND limit_key IS NOT NULL
 ORDER BY leased_at
 LIMIT :most
