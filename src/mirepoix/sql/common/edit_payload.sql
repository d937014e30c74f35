-- Replace the sender's payload by a person's, but only if the row is as the person saw it. A task that a worker has, or
-- had since, or that somebody else has edited, is not changed. The last attempt still says why the task was parked.
UPDATE mirepoix_task
   SET name = :name, version = :version, shape = :shape, headers = :headers, body = :body,
       reason = CASE WHEN state = 'parked' THEN :reason ELSE reason END
 WHERE id = :task_id AND state = :state AND state IN ('pending', 'parked', 'failed', 'quarantined')
   AND generation = :generation AND fence = :fence
   AND name = :seen_name AND version = :seen_version AND body = :seen_body
RETURNING id
