-- transition: leased|running -> pending
-- The attempt asks for a retry: the message that it sent under its own id replaces the message that it ran from. The +
-- keeps the planner from the index on worker_id: each row is found by its id.
UPDATE mirepoix_task AS t
   SET state = 'pending', reason = :reason, is_suspect = 0, generation = t.generation + 1,
       revoked_generation = CASE WHEN t.revoked_generation = t.generation THEN t.generation + 1 END,
       {envelope changes},
       requeued_at = NULL, sent_fence = CASE WHEN r.sent_fence IS NOT NULL THEN -1 END
  FROM {envelope rows}
 WHERE t.id = r.id AND t.id = :task_id AND t.fence = :fence AND +t.worker_id = :worker_id
   AND t.state IN ('leased', 'running')
RETURNING id, fence, generation - 1 AS generation, worker_id, leased_at, started_at, name
