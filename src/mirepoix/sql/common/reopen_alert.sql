-- The condition is back: notify it again, as a new occasion. An open alert is left alone.
UPDATE mirepoix_alert
   SET occasion = occasion + 1, opened_at = {now}, closed_at = NULL, title = :title, name = :name, task_id = :task_id,
       queue = :queue, in_release = :in_release
 WHERE id = :id AND closed_at IS NOT NULL
