-- Delete finished tasks with their attempts. This transaction has locked them.
DELETE FROM mirepoix_task
 WHERE id IN (SELECT r.id FROM json_array_elements_text(CAST(:task_ids AS json)) AS r(id))
   AND state IN ('succeeded', 'cancelled', 'expired')
