-- Open the alert for the first time. If two processes do so at once, one adds the row.
INSERT INTO mirepoix_alert (id, kind, subject, title, name, task_id, queue, in_release)
VALUES (:id, :kind, :subject, :title, :name, :task_id, :queue, :in_release)
    ON CONFLICT (id) DO NOTHING
