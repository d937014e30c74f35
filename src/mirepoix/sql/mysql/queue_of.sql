-- A queue that one of these tasks went through. A worker takes from it, certainly if it took one of the tasks.
SELECT t.queue
  FROM JSON_TABLE({json :ids}, '$[*]' COLUMNS (id {id} PATH '$')) AS w
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = w.id
 ORDER BY CASE WHEN t.fence > 0 THEN 0 ELSE 1 END, t.seq DESC
 LIMIT 1
