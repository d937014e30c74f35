-- Whether an attempt still holds its lease: asked before its code runs in a transaction of its own.
-- As an UPDATE, it takes the file's write lock at once: a transaction that began by reading may be refused when it writes.
-- Nobody else writes before its end, so it does not matter whether its start was noted.
UPDATE mirepoix_task SET pid = pid
 WHERE id = :task_id AND fence = :fence AND +worker_id = :worker_id AND state IN ('leased', 'running')
RETURNING 0 AS is_snapshot, 0 AS is_started
