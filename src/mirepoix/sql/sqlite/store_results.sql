-- One row for each id; a later result replaces an earlier one. Only an attempt's outcome replaces a success. A row that
-- names an attempt is written only while that attempt holds its lease, so a zombie reports no progress.
INSERT INTO mirepoix_result AS kept (task_id, status, result, content_type, traceback, meta, expires_at)
SELECT r.task_id, r.status, r.result, r.content_type, r.traceback, r.meta,
       strftime('%Y-%m-%d %H:%M:%f', 'now', r.expires_s || ' seconds')
  FROM (SELECT json_extract(value, '$.task_id') AS task_id, json_extract(value, '$.status') AS status,
               json_extract(value, '$.result') AS result, json_extract(value, '$.content_type') AS content_type,
               json_extract(value, '$.traceback') AS traceback, json_extract(value, '$.meta') AS meta,
               json_extract(value, '$.expires_s') AS expires_s, json_extract(value, '$.guard_id') AS guard_id,
               json_extract(value, '$.fence') AS fence, json_extract(value, '$.worker_id') AS worker_id
          FROM json_each(:rows)) AS r
 WHERE r.guard_id IS NULL
    OR EXISTS (SELECT 1 FROM mirepoix_task AS t
                WHERE t.id = r.guard_id AND t.fence = r.fence AND +t.worker_id = r.worker_id
                  AND t.state IN ('leased', 'running'))
    ON CONFLICT (task_id) DO UPDATE
   SET status = excluded.status, result = excluded.result, content_type = excluded.content_type,
       traceback = excluded.traceback, meta = excluded.meta, stored_at = strftime('%Y-%m-%d %H:%M:%f', 'now'),
       expires_at = excluded.expires_at
 WHERE :is_outcome = 1 OR kept.status <> 'SUCCESS'
