-- transition: leased|running -> pending
-- The attempt asks for a retry: the message that it sent under its own id replaces the message that it ran from.
SELECT id, fence, generation, worker_id, leased_at, started_at, name
  FROM mirepoix_task
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
   FOR UPDATE
;
UPDATE {envelope rows}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
   SET t.reason = :reason, t.is_suspect = 0,
       t.revoked_generation = CASE WHEN t.revoked_generation = t.generation THEN t.generation + 1 END,
       t.generation = t.generation + 1,
       {envelope changes},
       t.requeued_at = NULL, t.sent_fence = CASE WHEN r.sent_fence IS NOT NULL THEN -1 END, t.state = 'pending'
 WHERE t.id = :task_id AND t.fence = :fence AND t.worker_id = :worker_id AND t.state IN ('leased', 'running')
