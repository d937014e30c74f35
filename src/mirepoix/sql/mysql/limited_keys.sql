-- The next key of a limit with tasks that wait in a queue, after the key :after: one entry of the index. A step of a
-- recursive query would read every entry from the first key on, so the caller asks again for each of :most keys.
SELECT limit_key
  FROM mirepoix_task FORCE INDEX (mirepoix_task_limited)
 WHERE gate > CONCAT('w', :queue, CHAR(10 USING utf8mb4), :after) AND gate < CONCAT('w', :queue, CHAR(11 USING utf8mb4))
   AND :most > 0
 ORDER BY gate
 LIMIT 1
