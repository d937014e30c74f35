-- transition: leased|running -> pending
-- Its worker is dead: it is taken up again. Only a task that was seen to start is blamed for the death.
UPDATE mirepoix_task
   SET state = 'pending', reason = 'its worker died',
       deaths = deaths + CASE WHEN state = 'running' THEN 1 ELSE 0 END,
       handovers = handovers + CASE WHEN state = 'running' THEN 0 ELSE 1 END
 WHERE state IN ('leased', 'running')
   AND worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.state <> 'alive')
RETURNING id, fence, generation, worker_id, leased_at, started_at, name
