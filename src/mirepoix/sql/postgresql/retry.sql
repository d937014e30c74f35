-- transition: leased|running -> pending
-- The attempt asks for another: the message it sent under its own id replaces the one it ran from.
WITH retried AS (
UPDATE mirepoix_task AS t
   SET state = 'pending', reason = :reason, is_suspect = 0, generation = t.generation + 1,
       revoked_generation = CASE WHEN t.revoked_generation = t.generation THEN t.generation + 1 END,
       name = r.name, queue = r.queue, priority = r.priority, retries = r.retries,
       eta = r.eta, requeued_at = NULL, due_at = CASE WHEN r.eta > statement_timestamp() THEN r.eta END, expires_at = r.expires,
       content_type = r.content_type, content_encoding = r.content_encoding, body_encoding = r.body_encoding,
       body = r.body, headers = CAST(r.headers AS json), properties = CAST(r.properties AS json),
       exchange = r.exchange, routing_key = r.routing_key,
       sent_fence = CASE WHEN r.sent_fence IS NOT NULL THEN -1 END, version = r.version, shape = r.shape,
       written_by = r.written_by
  FROM json_to_recordset(CAST(:rows AS json)) AS r(
       id text, name text, queue text, priority smallint, retries int, root_id text, parent_id text, group_id text,
       eta timestamptz, expires timestamptz, content_type text, content_encoding text, body_encoding text, body text,
       headers text, properties text, exchange text, routing_key text, sent_fence int, version int, shape text,
       written_by text)
 WHERE t.id = r.id AND t.id = :task_id AND t.fence = :fence AND t.worker_id = :worker_id
   AND t.state IN ('leased', 'running')
RETURNING t.id, t.fence, t.generation - 1 AS generation, t.worker_id, t.leased_at, t.started_at, t.name
), woken AS (
    SELECT pg_notify('mirepoix', '') FROM retried LIMIT 1
)
SELECT id, fence, generation, worker_id, leased_at, started_at, name FROM retried LEFT JOIN woken ON true
