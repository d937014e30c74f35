-- Whether this task still waits. No worker takes it before the end of this transaction, which has locked the database.
SELECT t.id
  FROM mirepoix_task AS t
 WHERE t.id = :task_id AND t.state = 'pending'
