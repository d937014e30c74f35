-- How many ready tasks the broker is still to be told of: without a broker, nothing. Left to itself SQLite reads all that is
-- ready, through another index.
SELECT count(*) AS tasks
  FROM mirepoix_task INDEXED BY mirepoix_task_unsent
 WHERE state = 'pending' AND due_at IS NULL AND sent_fence <> fence
