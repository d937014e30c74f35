-- The number of ready tasks that are not published yet; none without a broker. Without the hint SQLite would read all
-- ready tasks through another index.
SELECT count(*) AS tasks
  FROM mirepoix_task INDEXED BY mirepoix_task_unsent
 WHERE state = 'pending' AND due_at IS NULL AND sent_fence <> fence
