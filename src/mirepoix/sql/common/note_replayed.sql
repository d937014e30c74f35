-- The task before it is replayed, and its stored result, so that the replay can be undone. If the task failed again
-- after it was chosen, its fence is higher and it is left alone. The lock holds until this transaction requeues the
-- task.
INSERT INTO mirepoix_replayed (replay_id, task_id, fence, generation, state, reason, finished_at, expires_at, retries, deaths,
                               handovers, result_status, result, content_type, traceback, meta, stored_at, result_expires_at)
SELECT :replay_id, t.id, t.fence, t.generation, t.state, t.reason, t.finished_at, t.expires_at, t.retries, t.deaths,
       t.handovers, k.status, k.result, k.content_type, k.traceback, k.meta, k.stored_at, k.expires_at
  FROM mirepoix_task AS t
  LEFT JOIN mirepoix_result AS k ON k.task_id = t.id
 WHERE t.id = :task_id AND t.fence = :fence AND t.state IN ('failed', 'quarantined')
   FOR UPDATE
