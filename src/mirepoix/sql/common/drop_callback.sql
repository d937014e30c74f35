-- Not if somebody has asked again since.
UPDATE mirepoix_key SET callback_to = NULL, callback = NULL WHERE id = :key AND callback = :callback
