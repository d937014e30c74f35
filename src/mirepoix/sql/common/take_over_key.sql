-- Give a key to another task. This transaction has locked the key.
UPDATE mirepoix_key
   SET task_id = :task_id, expires_at = NULL
 WHERE id = :key
