-- Delete finished tasks with their attempts. This transaction has locked them.
DELETE t
  FROM JSON_TABLE({json :task_ids}, '$[*]' COLUMNS (id {id} PATH '$')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
 WHERE t.state IN ('succeeded', 'cancelled', 'expired')
