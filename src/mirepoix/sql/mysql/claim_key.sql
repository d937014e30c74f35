-- Claim the key of a send if it is free. If an open transaction has claimed it, wait for that transaction. INSERT
-- IGNORE would take a shared lock on an existing row, and two transactions that then write it would deadlock.
INSERT INTO mirepoix_key (id, task_id, task_name, call_hash, shape)
VALUES (:key, :task_id, :task_name, :call_hash, :shape)
    ON DUPLICATE KEY UPDATE task_id = mirepoix_key.task_id
