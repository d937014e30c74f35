-- The keys of tasks that this transaction prunes stay for a while.
UPDATE mirepoix_key
   SET expires_at = {later :kept_s}
 WHERE expires_at IS NULL AND task_id IN (SELECT json_array_elements_text(CAST(:task_ids AS json)))
