-- How many ready tasks the broker is still to be told of. Read through the index mirepoix_task_unsent: without a broker, nothing.
SELECT count(*) AS tasks
  FROM mirepoix_task
 WHERE state = 'pending' AND due_at IS NULL AND sent_fence <> fence
