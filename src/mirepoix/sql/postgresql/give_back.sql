-- transition: leased|running -> pending
-- The task is not blamed: the worker stops, or cannot run the task now. :rows names the attempts, or is null for all
-- that the worker holds.
WITH returned AS (
UPDATE mirepoix_task AS t
   SET state = 'pending', worker_id = NULL
 WHERE t.worker_id = :worker_id AND t.state IN ('leased', 'running')
   AND (CAST(:rows AS json) IS NULL OR EXISTS (
        SELECT 1 FROM json_to_recordset(CAST(:rows AS json)) AS r(id text, fence int)
         WHERE r.id = t.id AND r.fence = t.fence))
RETURNING t.id, t.fence, t.generation, CAST(:worker_id AS text) AS worker_id, t.leased_at, t.started_at
), woken AS (
    SELECT pg_notify('mirepoix', '') FROM returned LIMIT 1
)
SELECT id, fence, generation, worker_id, leased_at, started_at FROM returned LEFT JOIN woken ON true
