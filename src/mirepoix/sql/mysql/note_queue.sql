INSERT INTO mirepoix_queue (name, broker_messages, looked_at) VALUES (:name, :messages, {now})
    ON DUPLICATE KEY UPDATE broker_messages = VALUES(broker_messages), looked_at = VALUES(looked_at)
