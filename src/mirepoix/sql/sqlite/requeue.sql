-- transition: failed|quarantined|parked|cancelled|expired -> pending
-- A person decided to run the task again at once, with all its retries. A passed expiry is removed.
UPDATE mirepoix_task
   SET state = 'pending', reason = :reason, generation = generation + 1, deaths = 0, handovers = 0, is_suspect = 0, retries = 0,
       headers = json_set(headers, '$.retries', 0, '$.expires', NULL), due_at = NULL, requeued_at = {now}, expires_at = NULL,
       finished_at = NULL, sent_fence = CASE WHEN sent_fence IS NOT NULL THEN -1 END,
       parked_for = NULL
 WHERE id = :task_id AND state IN ('failed', 'quarantined', 'parked', 'cancelled', 'expired')
RETURNING id
