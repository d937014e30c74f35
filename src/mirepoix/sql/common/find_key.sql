-- Who has the key. Its task was not sent if there is none, and it was not pruned.
SELECT k.task_id, k.task_name, k.call_hash, k.shape,
       CASE WHEN k.expires_at IS NULL AND NOT EXISTS (SELECT 1 FROM mirepoix_task AS t WHERE t.id = k.task_id) THEN 1 ELSE 0 END AS is_unsent
  FROM mirepoix_key AS k
 WHERE k.id = :key
