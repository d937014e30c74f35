-- Delete finished tasks with their attempts. This transaction has locked them.
DELETE FROM mirepoix_task
 WHERE id IN (SELECT value FROM json_each(:task_ids))
   AND state IN ('succeeded', 'cancelled', 'expired')
