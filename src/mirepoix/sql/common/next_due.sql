-- Seconds until the next waiting task comes due (negative: overdue), or null.
SELECT {seconds_until min(due_at)} FROM mirepoix_task WHERE state = 'pending' AND due_at IS NOT NULL
