-- A person's words in place of the sender's, but only where everything is as they saw it: what a worker has, or had since,
-- and what somebody else has changed, is left alone. Why it was parked is told by its last attempt.
UPDATE mirepoix_task
   SET name = :name, version = :version, shape = :shape, headers = :headers, body = :body,
       reason = CASE WHEN state = 'parked' THEN :reason ELSE reason END
 WHERE id = :task_id AND state = :state AND state IN ('pending', 'parked', 'failed', 'quarantined')
   AND generation = :generation AND fence = :fence
   AND name = :seen_name AND version = :seen_version AND body = :seen_body
RETURNING id
