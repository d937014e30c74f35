-- transition: pending -> quarantined
-- The task was replayed, and no worker has taken it. It gets its earlier state again. A message that the broker has is
-- refused.
UPDATE mirepoix_task
   SET state = 'quarantined', reason = :reason, finished_at = :finished_at, expires_at = :expires_at, retries = :retries,
       deaths = :deaths, handovers = :handovers, due_at = NULL
 WHERE id = :task_id AND fence = :fence AND generation = :generation + 1 AND state = 'pending'
RETURNING id
