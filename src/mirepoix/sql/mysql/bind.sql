-- A binding that is declared again is in use, so it is not deleted as stale.
INSERT INTO mirepoix_binding (exchange, routing_key, pattern, queue) VALUES (:exchange, :routing_key, :pattern, :queue)
    ON DUPLICATE KEY UPDATE created_at = {now}
