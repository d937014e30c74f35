-- transition: leased|running -> pending
-- Unblamed: the worker is being stopped or cannot run it now. :rows names the attempts, or is null for all it holds.
UPDATE mirepoix_task AS t
   SET state = 'pending', worker_id = NULL
 WHERE t.worker_id = :worker_id AND t.state IN ('leased', 'running')
   AND (:rows IS NULL OR EXISTS (
        SELECT 1 FROM json_each(:rows) AS r
         WHERE json_extract(r.value, '$.id') = t.id AND json_extract(r.value, '$.fence') = t.fence))
RETURNING id, fence, generation, :worker_id AS worker_id, leased_at, started_at
