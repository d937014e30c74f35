-- The keys of these tasks that have a limit.
SELECT t.id, t.limit_key
  FROM JSON_TABLE({json :ids}, '$[*]' COLUMNS (id {id} PATH '$')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
 WHERE t.limit_key IS NOT NULL
