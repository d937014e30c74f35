-- The ready tasks of a queue that workers take before a task of this priority and place, at most :cap. It uses the index
-- mirepoix_task_ready (MySQL: mirepoix_task_waiting).
SELECT count(*) AS tasks
  FROM (SELECT 1 AS found
          FROM mirepoix_task
         WHERE queue = :queue AND state = 'pending' AND due_at IS NULL
           AND (priority > :priority OR (priority = :priority AND seq < :seq))
         LIMIT :cap) AS earlier
