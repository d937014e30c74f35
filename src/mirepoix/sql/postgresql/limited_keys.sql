-- The next keys of limits with tasks that wait in a queue, after the key :after. Each step of the walk reads one entry of
-- the index, so a long backlog of one key costs nothing.
WITH RECURSIVE walk(limit_key, place) AS (
    (SELECT limit_key, 1 AS place
       FROM mirepoix_task
      WHERE queue = :queue AND CASE WHEN state = 'pending' AND due_at IS NULL THEN limit_key END IS NOT NULL
        AND limit_key > :after
      ORDER BY limit_key
      LIMIT 1)
     UNION ALL
    SELECT found.limit_key, walk.place + 1 AS place
      FROM walk
     CROSS JOIN LATERAL (
           SELECT limit_key
             FROM mirepoix_task
            WHERE queue = :queue AND CASE WHEN state = 'pending' AND due_at IS NULL THEN limit_key END IS NOT NULL
              AND limit_key > walk.limit_key
            ORDER BY limit_key
            LIMIT 1) AS found
     WHERE walk.place < :most
)
SELECT limit_key FROM walk
