-- Who has the slots of a key.
SELECT id, name, state, worker_id
  FROM mirepoix_task FORCE INDEX (mirepoix_task_limited)
 WHERE gate = CONCAT('h', :key)
 ORDER BY leased_at
 LIMIT :most
