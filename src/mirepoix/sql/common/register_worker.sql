-- A new incarnation. Its liveness lock is taken before this is committed, so that nobody finds it dead at birth.
INSERT INTO mirepoix_worker (id, name, host, pid, pool, concurrency, queues, software, alive_until)
VALUES (:id, :name, :host, :pid, :pool, :concurrency, :queues, :software, {later :ttl_s})
RETURNING liveness_key
