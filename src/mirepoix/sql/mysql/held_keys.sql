-- How many tasks workers hold of each key from :first to :last.
SELECT substr(gate, 2) AS limit_key, count(*) AS tasks
  FROM mirepoix_task FORCE INDEX (mirepoix_task_limited)
 WHERE gate >= CONCAT('h', :first) AND gate <= CONCAT('h', :last)
 GROUP BY gate
