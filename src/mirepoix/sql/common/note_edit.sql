-- An edit of a payload: who, why, and the payload before.
INSERT INTO mirepoix_edit (task_id, edited_by, reason, before_edit, after_edit)
VALUES (:task_id, :edited_by, :reason, :before_edit, :after_edit)
