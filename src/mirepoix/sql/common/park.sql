-- transition: leased|running -> parked
-- No code here can take the task. It is kept with the reason, and not acknowledged away. If other code could take it,
-- parked_for says what this code lacks, and shape says what the task calls.
UPDATE mirepoix_task
   SET state = 'parked', reason = :reason, parked_for = :parked_for, shape = coalesce(shape, :shape), finished_at = {now},
       is_suspect = 0
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
RETURNING id, fence, generation, worker_id, leased_at, started_at, name
