-- The ready tasks of a key that workers take before a task of this priority and place in the same queue, at most :cap.
-- Without the order PostgreSQL might read the table, and not the index, until it has found so many.
SELECT count(*) AS tasks
  FROM (SELECT 1 AS found
          FROM mirepoix_task
         WHERE queue = :queue AND limit_key = :key
           AND CASE WHEN state = 'pending' AND due_at IS NULL THEN limit_key END IS NOT NULL
           AND (priority > :priority OR (priority = :priority AND seq < :seq))
         ORDER BY priority DESC, seq
         LIMIT :cap) AS earlier
