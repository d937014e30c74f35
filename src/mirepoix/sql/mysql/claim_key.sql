-- The key of one send, unless somebody has it. Who has it in a transaction that is still open is waited for. Not INSERT
-- IGNORE: what that finds it locks shared, and two who then both want to write it would wait for each other.
INSERT INTO mirepoix_key (id, task_id, task_name, call_hash, shape)
VALUES (:key, :task_id, :task_name, :call_hash, :shape)
    ON DUPLICATE KEY UPDATE task_id = mirepoix_key.task_id
