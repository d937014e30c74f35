-- Whether an attempt still holds its lease, before its code runs in its own transaction. The UPDATE takes the file's
-- write lock at once, because SQLite may refuse the first write of a transaction that began by reading. Nobody else
-- writes before its end, so it does not matter whether its start was recorded.
UPDATE mirepoix_task SET pid = pid
 WHERE id = :task_id AND fence = :fence AND +worker_id = :worker_id AND state IN ('leased', 'running')
RETURNING 0 AS is_snapshot, 0 AS is_started
