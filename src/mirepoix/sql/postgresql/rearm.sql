-- transition: succeeded|failed|cancelled|expired -> pending
-- A finished task's id was sent again: the same task begins a new generation. Its fence keeps rising.
WITH rearmed AS (
UPDATE mirepoix_task AS t
   SET state = 'pending', reason = NULL, generation = t.generation + 1, deaths = 0, handovers = 0, is_suspect = 0,
       name = r.name, queue = r.queue, priority = r.priority, retries = r.retries,
       root_id = r.root_id, parent_id = r.parent_id, group_id = r.group_id,
       eta = r.eta, due_at = CASE WHEN r.eta > statement_timestamp() THEN r.eta END, expires_at = r.expires,
       requeued_at = statement_timestamp(), leased_at = NULL, started_at = NULL, finished_at = NULL, run_time_s = NULL, peak_memory_kb = NULL,
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
 WHERE t.id = r.id AND t.state IN ('succeeded', 'failed', 'cancelled', 'expired')
RETURNING t.id
), woken AS (
    SELECT pg_notify('mirepoix', '') FROM rearmed LIMIT 1
)
SELECT id FROM rearmed LEFT JOIN woken ON true
