-- transition: leased|running -> quarantined
-- The task was handed out too often and lost with its worker each time, although no death is known to be its fault.
-- Rows that another transaction has locked are skipped.
SELECT id, fence, generation, worker_id, leased_at, started_at, name
  FROM mirepoix_task
 WHERE state IN ('leased', 'running') AND handovers + 1 >= :max_handovers
   AND worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.state <> 'alive')
   FOR UPDATE SKIP LOCKED
;
UPDATE {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
   SET t.finished_at = {now},
       t.reason = :reason, t.handovers = t.handovers + 1, t.state = 'quarantined'
 WHERE t.state IN ('leased', 'running')
   AND t.worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.state <> 'alive')
