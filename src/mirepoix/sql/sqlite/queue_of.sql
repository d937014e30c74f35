-- A queue that one of these tasks went through. A worker takes from it, certainly if it took one of the tasks.
SELECT queue
  FROM mirepoix_task
 WHERE id IN (SELECT value FROM json_each(:ids))
 ORDER BY CASE WHEN fence > 0 THEN 0 ELSE 1 END, seq DESC
 LIMIT 1
