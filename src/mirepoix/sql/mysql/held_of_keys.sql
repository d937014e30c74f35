-- How many tasks of each key workers hold now.
SELECT r.id AS limit_key, count(t.seq) AS tasks
  FROM JSON_TABLE({json :keys}, '$[*]' COLUMNS (id {id} PATH '$')) AS r
  LEFT JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_limited) ON t.gate = CONCAT('h', r.id)
 GROUP BY r.id
