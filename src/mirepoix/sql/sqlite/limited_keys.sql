-- The next keys of limits with tasks that wait in a queue, after the key :after. Each step of the walk reads one entry of
-- the index, so a long backlog of one key costs nothing.
WITH RECURSIVE walk(limit_key, place) AS (
    SELECT (SELECT limit_key
              FROM mirepoix_task INDEXED BY mirepoix_task_limited
             WHERE queue = :queue AND state = 'pending' AND due_at IS NULL AND limit_key IS NOT NULL AND limit_key > :after
             ORDER BY limit_key
             LIMIT 1) AS limit_key, 1 AS place
     UNION ALL
    SELECT (SELECT t.limit_key
              FROM mirepoix_task AS t INDEXED BY mirepoix_task_limited
             WHERE t.queue = :queue AND t.state = 'pending' AND t.due_at IS NULL AND t.limit_key IS NOT NULL
               AND t.limit_key > walk.limit_key
             ORDER BY t.limit_key
             LIMIT 1) AS limit_key, place + 1 AS place
      FROM walk
     WHERE walk.limit_key IS NOT NULL AND place < :most
)
SELECT limit_key FROM walk WHERE limit_key IS NOT NULL
