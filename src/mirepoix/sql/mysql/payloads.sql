-- A page of payloads without a shape: written by an older release, too long, or not JSON. Without the hint MySQL would
-- scan the history because of the order.
SELECT seq, id, name, state, headers, body, body_encoding, content_type, created_at
  FROM mirepoix_task FORCE INDEX (mirepoix_task_waiting)
 WHERE shape IS NULL AND seq > :after AND state IN ('pending', 'leased', 'running', 'failed', 'quarantined', 'parked')
 ORDER BY seq
 LIMIT :batch
