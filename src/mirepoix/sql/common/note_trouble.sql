-- What keeps the relay from publishing; null: nothing does.
UPDATE mirepoix_worker SET reason = :trouble WHERE id = :worker_id AND state = 'alive'
