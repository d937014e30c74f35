-- Open it for the first time; of two who do so at once one adds the row. IGNORE stands for ON CONFLICT.
INSERT IGNORE INTO mirepoix_alert (id, kind, subject, title, name, task_id, queue, in_release)
VALUES (:id, :kind, :subject, :title, :name, :task_id, :queue, :in_release)
