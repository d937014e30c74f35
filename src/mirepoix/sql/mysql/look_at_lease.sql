-- Whether an attempt still holds its lease, before its code runs in its own transaction. Nothing is locked. That
-- transaction may see the database as it was when it began, so it has to know whether its start was recorded before.
-- MariaDB and MySQL have different names for the variable, and each skips the other's comment.
SELECT /*M! @@tx_isolation *//*!80000 @@transaction_isolation */ IN ('REPEATABLE-READ', 'SERIALIZABLE') AS is_snapshot,
       state = 'running' AS is_started
  FROM mirepoix_task
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
