-- transition: leased|running -> quarantined
-- The task's process died once too often (its parent saw that), or the task was rejected once too often.
UPDATE mirepoix_task
   SET state = 'quarantined', reason = :reason, finished_at = {now}, pid = :pid,
       deaths = deaths + :is_blamed, handovers = handovers + 1 - :is_blamed
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
   AND CASE WHEN :is_blamed = 1 THEN deaths + 1 >= :max_deaths ELSE handovers + 1 >= :max_handovers END
RETURNING id, fence, generation, worker_id, leased_at, started_at, name
