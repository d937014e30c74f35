-- The key of one send, unless somebody has it. Who has it in a transaction that is still open is waited for.
INSERT INTO mirepoix_key (id, task_id, task_name, call_hash, shape)
VALUES (:key, :task_id, :task_name, :call_hash, :shape)
    ON CONFLICT (id) DO NOTHING
