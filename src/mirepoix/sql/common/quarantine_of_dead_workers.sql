-- transition: leased|running -> quarantined
-- It was running in too many processes when they died, or was handed out too often and never seen to start.
UPDATE mirepoix_task
   SET state = 'quarantined', finished_at = {now},
       reason = CASE WHEN state = 'running' THEN :reason_of_deaths ELSE :reason_of_handovers END,
       deaths = deaths + CASE WHEN state = 'running' THEN 1 ELSE 0 END,
       handovers = handovers + CASE WHEN state = 'running' THEN 0 ELSE 1 END
 WHERE state IN ('leased', 'running')
   AND CASE WHEN state = 'running' THEN deaths + 1 >= :max_deaths ELSE handovers + 1 >= :max_handovers END
   AND worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.state <> 'alive')
RETURNING id, fence, generation, worker_id, leased_at, started_at, name
