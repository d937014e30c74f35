-- transition: leased|running -> pending
-- Its process died under it (the parent saw it), or it was rejected back: it is taken up again, after :delay_s.
UPDATE mirepoix_task
   SET state = 'pending', reason = :reason, due_at = CASE WHEN :delay_s > 0 THEN {later :delay_s} END,
       deaths = deaths + :is_blamed, handovers = handovers + 1 - :is_blamed,
       is_suspect = CASE WHEN :is_suspect = 1 THEN 1 ELSE is_suspect END
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
RETURNING id, fence, generation, worker_id, leased_at, started_at, name
