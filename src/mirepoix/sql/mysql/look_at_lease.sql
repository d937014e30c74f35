-- Whether an attempt still holds its lease: asked before its code runs in a transaction of its own. Nothing is locked.
-- Such a transaction may see the database as it was when it began: then it has to know whether its start was noted before.
-- MariaDB and MySQL call the variable by different names, and each skips the other's comment.
SELECT /*M! @@tx_isolation *//*!80000 @@transaction_isolation */ IN ('REPEATABLE-READ', 'SERIALIZABLE') AS is_snapshot,
       state = 'running' AS is_started
  FROM mirepoix_task
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
