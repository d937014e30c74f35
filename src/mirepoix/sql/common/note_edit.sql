-- Who changed a payload, why, and what it was before.
INSERT INTO mirepoix_edit (task_id, edited_by, reason, before_edit, after_edit)
VALUES (:task_id, :edited_by, :reason, :before_edit, :after_edit)
