-- transition: leased|running -> pending
-- The task's worker is dead, and the task is not blamed. Another attempt may run it. If the worker died by itself, its
-- tasks are suspects. Rows that another transaction has locked are skipped.
SELECT id, fence, generation, worker_id, leased_at, started_at, name
  FROM mirepoix_task
 WHERE state IN ('leased', 'running')
   AND worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.state <> 'alive')
   FOR UPDATE SKIP LOCKED
;
UPDATE {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
   SET t.reason = 'its worker died',
       t.is_suspect = CASE WHEN t.worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.death = 'hard')
                           THEN 1 ELSE t.is_suspect END,
       t.handovers = t.handovers + 1, t.state = 'pending'
 WHERE t.state IN ('leased', 'running')
   AND t.worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.state <> 'alive')
