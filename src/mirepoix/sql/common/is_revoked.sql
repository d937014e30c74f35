-- Whether a revocation that a worker knows is meant for this attempt. Celery's own clients write nothing here. Their
-- revocation is meant for a task that was never requeued or sent again, so its only generations are retries.
SELECT CASE WHEN revoked_generation = generation OR generation <= retries THEN 1 ELSE 0 END AS is_revoked
  FROM mirepoix_task
 WHERE id = :task_id AND fence = :fence
