-- Seconds until the next scheduled task is due (negative: overdue), or null.
SELECT {seconds_until min(due_at)} AS due_in_s FROM mirepoix_task WHERE state = 'pending' AND due_at IS NOT NULL
