-- Do nothing if a new request has come since.
UPDATE mirepoix_key SET callback_to = NULL, callback = NULL WHERE id = :key AND callback = :callback
