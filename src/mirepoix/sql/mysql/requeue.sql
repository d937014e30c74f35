-- transition: failed|quarantined|parked|cancelled|expired -> pending
-- A person decided to run the task again at once, with all its retries. A passed expiry is removed.
SELECT id
  FROM mirepoix_task
 WHERE id = :task_id AND state IN ('failed', 'quarantined', 'parked', 'cancelled', 'expired')
   FOR UPDATE
;
UPDATE mirepoix_task
   SET reason = :reason, generation = generation + 1, deaths = 0, handovers = 0, is_suspect = 0, retries = 0,
       headers = JSON_SET(headers, '$.retries', 0, '$.expires', NULL), due_at = NULL, requeued_at = {now}, expires_at = NULL, finished_at = NULL,
       sent_fence = CASE WHEN sent_fence IS NOT NULL THEN -1 END, parked_for = NULL, state = 'pending'
 WHERE id = :task_id AND state IN ('failed', 'quarantined', 'parked', 'cancelled', 'expired')
