-- transition: leased|running -> pending
-- Its worker is dead, and nobody is blamed: it is taken up again. What a worker had when it died by itself is a suspect.
UPDATE mirepoix_task
   SET state = 'pending', reason = 'its worker died', handovers = handovers + 1,
       is_suspect = CASE WHEN worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.death = 'hard')
                         THEN 1 ELSE is_suspect END
 WHERE state IN ('leased', 'running')
   AND worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.state <> 'alive')
RETURNING id, fence, generation, worker_id, leased_at, started_at, name
