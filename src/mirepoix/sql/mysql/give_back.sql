-- transition: leased|running -> pending
-- The task is not blamed: the worker stops, or cannot run the task now. :rows names the attempts, or is null for all
-- that the worker holds.
SELECT t.id, t.fence, t.generation, t.worker_id, t.leased_at, t.started_at
  FROM mirepoix_task AS t FORCE INDEX (mirepoix_task_held)
 WHERE t.worker_id = :worker_id AND t.state IN ('leased', 'running')
   AND (:rows IS NULL OR (t.id, t.fence) IN (
        SELECT r.id, r.fence
          FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (id {id} PATH '$.id', fence int PATH '$.fence')) AS r))
   FOR UPDATE
;
UPDATE {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
   SET t.worker_id = NULL, t.state = 'pending'
 WHERE t.worker_id = :worker_id AND t.state IN ('leased', 'running')
