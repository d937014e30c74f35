-- transition: leased|running -> quarantined
-- The task was handed out too often and lost with its worker each time, although no death is known to be its fault.
UPDATE mirepoix_task
   SET state = 'quarantined', finished_at = {now}, reason = :reason, handovers = handovers + 1
 WHERE state IN ('leased', 'running') AND handovers + 1 >= :max_handovers
   AND worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.state <> 'alive')
RETURNING id, fence, generation, worker_id, leased_at, started_at, name
