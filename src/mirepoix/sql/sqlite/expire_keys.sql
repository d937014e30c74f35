-- The keys of tasks that are pruned in this transaction stay a while longer.
UPDATE mirepoix_key
   SET expires_at = {later :kept_s}
 WHERE expires_at IS NULL AND task_id IN (SELECT value FROM json_each(:task_ids))
