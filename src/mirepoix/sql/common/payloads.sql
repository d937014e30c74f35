-- A page of payloads without a shape: written by an older release, too long, or not JSON.
SELECT seq, id, name, state, {as_text headers} AS headers, body, body_encoding, content_type, created_at
  FROM mirepoix_task
 WHERE shape IS NULL AND seq > :after AND state IN ('pending', 'leased', 'running', 'failed', 'quarantined', 'parked')
 ORDER BY seq
 LIMIT :batch
