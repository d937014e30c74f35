-- transition: leased|running -> pending
-- The task is not blamed: the worker stops, or cannot run the task now. :rows names the attempts, or is null for all
-- that the worker holds.
UPDATE mirepoix_task AS t
   SET state = 'pending', worker_id = NULL
 WHERE t.worker_id = :worker_id AND t.state IN ('leased', 'running')
   AND (:rows IS NULL OR EXISTS (
        SELECT 1 FROM json_each(:rows) AS r
         WHERE json_extract(r.value, '$.id') = t.id AND json_extract(r.value, '$.fence') = t.fence))
RETURNING id, fence, generation, :worker_id AS worker_id, leased_at, started_at
