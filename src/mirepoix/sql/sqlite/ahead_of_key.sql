-- The ready tasks of a key that workers take before a task of this priority and place in the same queue, at most :cap.
SELECT count(*) AS tasks
  FROM (SELECT 1 AS found
          FROM mirepoix_task
         WHERE queue = :queue AND limit_key = :key AND limit_key IS NOT NULL AND state = 'pending' AND due_at IS NULL
           AND (priority > :priority OR (priority = :priority AND seq < :seq))
         LIMIT :cap) AS earlier
