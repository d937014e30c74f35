-- A worker has the task, so remote control notifies the worker. The worker remembers the task's id. That no longer
-- counts when the task is requeued or sent again, which begins another generation.
UPDATE mirepoix_task
   SET revoked_generation = generation
 WHERE id = :task_id AND state IN ('pending', 'parked', 'leased', 'running')
RETURNING id
