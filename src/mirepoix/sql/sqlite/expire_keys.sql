-- The keys of tasks that this transaction prunes stay for a while.
UPDATE mirepoix_key
   SET expires_at = {later :kept_s}
 WHERE expires_at IS NULL AND task_id IN (SELECT value FROM json_each(:task_ids))
