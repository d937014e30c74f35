-- One row for each id; a later result replaces an earlier one. Only an attempt's outcome replaces a success. A row that
-- names an attempt is written only while that attempt holds its lease, so a zombie reports no progress. When this
-- commits, waiting clients are notified of the finished ids, in pages, because a notification holds 8,000 bytes.
WITH stored AS (
    INSERT INTO mirepoix_result AS kept (task_id, status, result, content_type, traceback, meta, expires_at)
    SELECT r.task_id, r.status, r.result, r.content_type, r.traceback, r.meta,
           statement_timestamp() + r.expires_s * interval '1 second'
      FROM json_to_recordset(CAST(:rows AS json)) AS r(
           task_id text, status text, result text, content_type text, traceback text, meta text, expires_s float8,
           guard_id text, fence int, worker_id text)
     WHERE r.guard_id IS NULL
        OR EXISTS (SELECT 1 FROM mirepoix_task AS t
                    WHERE t.id = r.guard_id AND t.fence = r.fence AND t.worker_id = r.worker_id
                      AND t.state IN ('leased', 'running'))
        ON CONFLICT (task_id) DO UPDATE
       SET status = excluded.status, result = excluded.result, content_type = excluded.content_type,
           traceback = excluded.traceback, meta = excluded.meta, stored_at = clock_timestamp(),
           expires_at = excluded.expires_at
     WHERE :is_outcome = 1 OR kept.status <> 'SUCCESS'
    RETURNING task_id, status
), told AS (
    SELECT pg_notify('mirepoix_result', string_agg(CASE WHEN octet_length(task_id) > 200 THEN '*' ELSE task_id END, ','))
      FROM (SELECT task_id, (row_number() OVER () - 1) / 30 AS page
              FROM stored
             WHERE status IN ('SUCCESS', 'FAILURE', 'REVOKED')) AS finished
     GROUP BY page
)
SELECT (SELECT count(*) FROM stored) AS stored, (SELECT count(*) FROM told) AS told
