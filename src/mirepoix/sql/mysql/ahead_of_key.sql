-- The ready tasks of a key that workers take before a task of this priority and place in the same queue, at most :cap.
SELECT count(*) AS tasks
  FROM (SELECT 1 AS found
          FROM mirepoix_task FORCE INDEX (mirepoix_task_limited)
         WHERE gate = CONCAT('w', :queue, CHAR(10 USING utf8mb4), :key)
           AND (priority > :priority OR (priority = :priority AND seq < :seq))
         LIMIT :cap) AS earlier
