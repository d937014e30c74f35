-- Whether an attempt still holds its lease: asked before its code runs in a transaction of its own. Nothing is locked.
SELECT id FROM mirepoix_task
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
