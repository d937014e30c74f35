-- A binding that is declared again is in use, so it is not deleted as stale.
INSERT INTO mirepoix_binding (exchange, routing_key, pattern, queue) VALUES (:exchange, :routing_key, :pattern, :queue)
    ON CONFLICT (exchange, routing_key, pattern, queue) DO UPDATE SET created_at = {now}
