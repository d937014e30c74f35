-- The result that a task had before it was replayed. If its expiry has passed since, it is deleted soon.
INSERT INTO mirepoix_result (task_id, status, result, content_type, traceback, meta, stored_at, expires_at)
SELECT r.task_id, r.result_status, r.result, r.content_type, r.traceback, r.meta, r.stored_at, r.result_expires_at
  FROM mirepoix_replayed AS r
 WHERE r.replay_id = :replay_id AND r.task_id = :task_id AND r.result_status IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM mirepoix_result AS k WHERE k.task_id = :task_id)
