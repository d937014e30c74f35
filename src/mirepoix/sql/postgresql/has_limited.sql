-- Whether a queue has ready tasks with a limit. The order makes PostgreSQL use the index. It takes the condition for one
-- that half of the rows meet, and would read the table.
SELECT wanted.queue
  FROM json_array_elements_text(CAST(:queues AS json)) AS wanted(queue)
 CROSS JOIN LATERAL (
       SELECT id
         FROM mirepoix_task
        WHERE queue = wanted.queue AND CASE WHEN state = 'pending' AND due_at IS NULL THEN limit_key END IS NOT NULL
        ORDER BY limit_key
        LIMIT 1) AS ready
 LIMIT 1
