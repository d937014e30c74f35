-- The schedules that are due next.
SELECT id, next_due_at
  FROM mirepoix_schedule
 WHERE removed_at IS NULL AND next_due_at IS NOT NULL
 ORDER BY next_due_at, id
 LIMIT :batch
