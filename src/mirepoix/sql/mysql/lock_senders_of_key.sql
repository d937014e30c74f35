-- Let senders of calls with this limit key wait for each other until the end of this transaction. Workers do not read the
-- row. It is written each time, so that a snapshot that is older conflicts where the server checks that.
INSERT INTO mirepoix_key (id, task_id, task_name, call_hash, shape, expires_at)
VALUES (:key, :task_id, '', '', '', {later :kept_s})
    ON DUPLICATE KEY UPDATE task_id = :task_id, expires_at = {later :kept_s}
