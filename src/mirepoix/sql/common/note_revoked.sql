-- A worker has it, so it is told by remote control. What it remembers of that by the task's id is no longer meant when the
-- task is requeued or sent again: that begins another generation.
UPDATE mirepoix_task
   SET revoked_generation = generation
 WHERE id = :task_id AND state IN ('pending', 'parked', 'leased', 'running')
RETURNING id
