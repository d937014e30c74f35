-- Whether a queue has tasks that are ready again after a worker had them. Suspects count only with :suspects. The column
-- is_returned replaces the partial index of the other databases.
SELECT r.queue
  FROM JSON_TABLE({json :queues}, '$[*]' COLUMNS (queue {id} PATH '$')) AS r
 WHERE EXISTS (SELECT 1
                 FROM mirepoix_task AS t FORCE INDEX (mirepoix_task_returned)
                WHERE t.is_returned = 1 AND t.limit_key IS NULL AND t.queue = r.queue
                  AND (t.expires_at IS NULL OR t.expires_at > {now}) AND (t.is_suspect = 0 OR :suspects = 1))
 LIMIT 1
