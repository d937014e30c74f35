-- Let no worker take this task before the end of this transaction, if it still waits. What the transaction writes is
-- then there when the task begins. MariaDB does not know FOR SHARE.
SELECT t.id
  FROM mirepoix_task AS t
 WHERE t.id = :task_id AND t.state = 'pending'
  LOCK IN SHARE MODE
