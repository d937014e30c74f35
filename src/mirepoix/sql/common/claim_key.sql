-- Claim the key of a send if it is free. If an open transaction has claimed it, wait for that transaction.
INSERT INTO mirepoix_key (id, task_id, task_name, call_hash, shape)
VALUES (:key, :task_id, :task_name, :call_hash, :shape)
    ON CONFLICT (id) DO NOTHING
