-- A queue gets its first probe.
INSERT INTO mirepoix_probe (queue, task_id, asked_at) VALUES (:queue, :task_id, {now})
    ON CONFLICT (queue) DO NOTHING
