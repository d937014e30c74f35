-- Register who is notified of the end of the task. A later request replaces an earlier one.
UPDATE mirepoix_key SET callback_to = :callback_to, callback = :callback WHERE id = :key
