-- transition: leased|running -> parked
-- No code here can take it: kept with the reason, never acknowledged away. What other code could take says what is missing
-- here (parked_for), and what it calls (shape).
UPDATE mirepoix_task
   SET state = 'parked', reason = :reason, parked_for = :parked_for, shape = coalesce(shape, :shape), finished_at = {now},
       is_suspect = 0
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
RETURNING id, fence, generation, worker_id, leased_at, started_at, name
