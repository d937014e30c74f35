-- transition: leased|running -> pending
-- The task's process died (its parent saw that), or the task was rejected. Another attempt may run it after :delay_s.
UPDATE mirepoix_task
   SET state = 'pending', reason = :reason, due_at = CASE WHEN :delay_s > 0 THEN {later :delay_s} END,
       is_suspect = CASE WHEN :suspect_after > 0 AND deaths + handovers + 1 >= :suspect_after
                         THEN 1 ELSE is_suspect END,
       deaths = deaths + :is_blamed, handovers = handovers + 1 - :is_blamed
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
RETURNING id, fence, generation, worker_id, leased_at, started_at, name
