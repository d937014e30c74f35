INSERT INTO mirepoix_queue (name, probed_at) VALUES (:name, {now})
    ON DUPLICATE KEY UPDATE probed_at = VALUES(probed_at)
