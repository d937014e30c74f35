-- transition: leased|running -> pending
-- The task's worker is dead, and the task is not blamed. Another attempt may run it. If the worker died by itself, its
-- tasks are suspects.
UPDATE mirepoix_task
   SET state = 'pending', reason = 'its worker died', handovers = handovers + 1,
       is_suspect = CASE WHEN worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.death = 'hard')
                         THEN 1 ELSE is_suspect END
 WHERE state IN ('leased', 'running')
   AND worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.state <> 'alive')
RETURNING id, fence, generation, worker_id, leased_at, started_at, name
