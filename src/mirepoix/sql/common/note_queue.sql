INSERT INTO mirepoix_queue (name, broker_messages, looked_at) VALUES (:name, :messages, {now})
    ON CONFLICT (name) DO UPDATE SET broker_messages = excluded.broker_messages, looked_at = {now}
