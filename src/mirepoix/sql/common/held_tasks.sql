-- The tasks that are held, by queue, name and what holds them. Held rows are together in the index of due times.
SELECT queue, name, held_by, count(*) AS tasks
  FROM mirepoix_task
 WHERE state = 'pending' AND due_at = {held_until}
 GROUP BY queue, name, held_by
