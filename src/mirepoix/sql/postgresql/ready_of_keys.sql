-- How many tasks of each key are ready in a queue, at most :cap of a key.
-- Without the order PostgreSQL might read the table, and not the index, until it has found so many.
SELECT w.id AS limit_key, ready.tasks
  FROM json_array_elements_text(CAST(:keys AS json)) AS w(id)
 CROSS JOIN LATERAL (
       SELECT count(*) AS tasks
         FROM (SELECT 1 AS found
                 FROM mirepoix_task
                WHERE queue = :queue AND limit_key = w.id
                  AND CASE WHEN state = 'pending' AND due_at IS NULL THEN limit_key END IS NOT NULL
                ORDER BY priority DESC, seq
                LIMIT :cap) AS first_ones) AS ready
