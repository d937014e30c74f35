INSERT INTO mirepoix_binding (exchange, routing_key, pattern, queue) VALUES (:exchange, :routing_key, :pattern, :queue)
    ON CONFLICT (exchange, routing_key, pattern, queue) DO NOTHING
