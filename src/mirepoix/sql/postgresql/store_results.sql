-- One row for each id; what comes later replaces what was there. A success is replaced only by an attempt's outcome.
-- A row that names an attempt is written only while that attempt holds its lease: a zombie reports no progress.
-- Whoever waits is told the ids of the finished ones when this commits; in pages, as a notification holds 8,000 bytes.
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
