-- Whether a revocation that a worker has heard of is meant for this attempt. Celery's own clients note nothing here: theirs
-- is meant for a task that was never requeued or sent again, which has no other generations than its retries.
SELECT CASE WHEN revoked_generation = generation OR generation <= retries THEN 1 ELSE 0 END AS is_revoked
  FROM mirepoix_task
 WHERE id = :task_id AND fence = :fence
