-- A binding that is made again is in use: it is not forgotten as stale.
INSERT INTO mirepoix_binding (exchange, routing_key, pattern, queue) VALUES (:exchange, :routing_key, :pattern, :queue)
    ON DUPLICATE KEY UPDATE created_at = {now}
