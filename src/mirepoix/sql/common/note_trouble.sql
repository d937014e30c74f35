-- The error that keeps the relay from publishing, or null.
UPDATE mirepoix_worker SET reason = :trouble WHERE id = :worker_id AND state = 'alive'
