-- A new incarnation. It takes its liveness lock before this commits, so that nobody finds it dead at once.
INSERT INTO mirepoix_worker (id, name, host, pid, pool, concurrency, queues, software, process, alive_until, relays)
VALUES (:id, :name, :host, :pid, :pool, :concurrency, :queues, :software, :process, {later :ttl_s}, :relays)
RETURNING liveness_key
