-- A queue gets its first probe.
INSERT IGNORE INTO mirepoix_probe (queue, task_id, asked_at) VALUES (:queue, :task_id, {now})
