-- Open the alert for the first time. If two processes do so at once, one adds the row. IGNORE replaces ON CONFLICT.
INSERT IGNORE INTO mirepoix_alert (id, kind, subject, title, name, task_id, queue, in_release)
VALUES (:id, :kind, :subject, :title, :name, :task_id, :queue, :in_release)
