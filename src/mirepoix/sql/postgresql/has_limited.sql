-- Whether a queue has ready tasks with a limit.
SELECT wanted.queue
  FROM json_array_elements_text(CAST(:queues AS json)) AS wanted(queue)
 CROSS JOIN LATERAL (
       SELECT id
         FROM mirepoix_task
        WHERE queue = wanted.queue AND CASE WHEN state = 'pending' AND due_at IS NULL THEN limit_key END IS NOT NULL
        LIMIT 1) AS ready
 LIMIT 1
