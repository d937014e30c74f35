-- One row for each id; a later result replaces an earlier one. Only an attempt's outcome replaces a success. A row that
-- names an attempt is written only while that attempt holds its lease, so a zombie reports no progress. The status is
-- set last, because the other assignments read the old status.
INSERT INTO mirepoix_result (task_id, status, result, content_type, traceback, meta, expires_at)
SELECT r.task_id, r.status, r.result, r.content_type, r.traceback, r.meta, {later r.expires_s}
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (
           task_id {id} PATH '$.task_id', status {text} PATH '$.status', result {text} PATH '$.result',
           content_type {text} PATH '$.content_type', traceback {text} PATH '$.traceback', meta {text} PATH '$.meta',
           expires_s double PATH '$.expires_s', guard_id {id} PATH '$.guard_id', fence int PATH '$.fence',
           worker_id {id} PATH '$.worker_id')) AS r
 WHERE r.guard_id IS NULL
    OR EXISTS (SELECT 1 FROM mirepoix_task AS t
                WHERE t.id = r.guard_id AND t.fence = r.fence AND t.worker_id = r.worker_id
                  AND t.state IN ('leased', 'running'))
    ON DUPLICATE KEY UPDATE
       result = CASE WHEN :is_outcome = 1 OR mirepoix_result.status <> 'SUCCESS' THEN r.result ELSE mirepoix_result.result END,
       content_type = CASE WHEN :is_outcome = 1 OR mirepoix_result.status <> 'SUCCESS' THEN r.content_type
                           ELSE mirepoix_result.content_type END,
       traceback = CASE WHEN :is_outcome = 1 OR mirepoix_result.status <> 'SUCCESS' THEN r.traceback
                        ELSE mirepoix_result.traceback END,
       meta = CASE WHEN :is_outcome = 1 OR mirepoix_result.status <> 'SUCCESS' THEN r.meta ELSE mirepoix_result.meta END,
       stored_at = CASE WHEN :is_outcome = 1 OR mirepoix_result.status <> 'SUCCESS' THEN {now}
                        ELSE mirepoix_result.stored_at END,
       expires_at = CASE WHEN :is_outcome = 1 OR mirepoix_result.status <> 'SUCCESS' THEN {later r.expires_s}
                         ELSE mirepoix_result.expires_at END,
       status = CASE WHEN :is_outcome = 1 OR mirepoix_result.status <> 'SUCCESS' THEN r.status ELSE mirepoix_result.status END
