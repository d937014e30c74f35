-- All edits of a task, the first one first.
SELECT edited_at, edited_by, reason, {as_text before_edit} AS before_edit, {as_text after_edit} AS after_edit
  FROM mirepoix_edit
 WHERE task_id = :task_id
 ORDER BY id
