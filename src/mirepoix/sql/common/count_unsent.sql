-- The number of ready tasks that are not published yet. It uses the index mirepoix_task_unsent, which is empty without
-- a broker.
SELECT count(*) AS tasks
  FROM mirepoix_task
 WHERE state = 'pending' AND due_at IS NULL AND sent_fence <> fence
