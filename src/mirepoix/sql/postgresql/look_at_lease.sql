-- Whether an attempt still holds its lease, before its code runs in its own transaction. Nothing is locked. That
-- transaction may see the database as it was when it began, so it has to know whether its start was recorded before.
SELECT current_setting('transaction_isolation') IN ('repeatable read', 'serializable') AS is_snapshot,
       state = 'running' AS is_started
  FROM mirepoix_task
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
