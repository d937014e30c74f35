INSERT INTO mirepoix_queue (name, probed_at) VALUES (:name, {now})
    ON CONFLICT (name) DO UPDATE SET probed_at = {now}
