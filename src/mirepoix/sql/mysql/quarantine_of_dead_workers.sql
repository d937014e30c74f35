-- transition: leased|running -> quarantined
-- It was running in too many processes when they died, or was handed out too often and never seen to start.
-- The state is set last: what is set before asks for the old one. Who is at one of them now is not waited for.
SELECT id, fence, generation, worker_id, leased_at, started_at, name
  FROM mirepoix_task
 WHERE state IN ('leased', 'running')
   AND CASE WHEN state = 'running' THEN deaths + 1 >= :max_deaths ELSE handovers + 1 >= :max_handovers END
   AND worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.state <> 'alive')
   FOR UPDATE SKIP LOCKED
;
UPDATE {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
   SET t.finished_at = {now},
       t.reason = CASE WHEN t.state = 'running' THEN :reason_of_deaths ELSE :reason_of_handovers END,
       t.deaths = t.deaths + CASE WHEN t.state = 'running' THEN 1 ELSE 0 END,
       t.handovers = t.handovers + CASE WHEN t.state = 'running' THEN 0 ELSE 1 END, t.state = 'quarantined'
 WHERE t.state IN ('leased', 'running')
   AND t.worker_id IN (SELECT w.id FROM mirepoix_worker AS w WHERE w.state <> 'alive')
