-- How many tasks of each key are ready in a queue, at most :cap of a key.
SELECT w.value AS limit_key,
       (SELECT count(*)
          FROM (SELECT 1 AS found
                  FROM mirepoix_task INDEXED BY mirepoix_task_limited
                 WHERE queue = :queue AND limit_key = w.value AND limit_key IS NOT NULL AND state = 'pending'
                   AND due_at IS NULL
                 LIMIT :cap)) AS tasks
  FROM json_each(:keys) AS w
