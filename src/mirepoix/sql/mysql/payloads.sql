-- Payloads that do not say what they call: written by an older release, too long to say, or not JSON. A page of them.
-- Without the word about the index MySQL would walk the history for the sake of the order.
SELECT seq, id, name, state, headers, body, body_encoding, content_type, created_at
  FROM mirepoix_task FORCE INDEX (mirepoix_task_waiting)
 WHERE shape IS NULL AND seq > :after AND state IN ('pending', 'leased', 'running', 'failed', 'quarantined', 'parked')
 ORDER BY seq
 LIMIT :batch
