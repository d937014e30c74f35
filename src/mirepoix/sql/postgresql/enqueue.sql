-- transition: new -> pending
-- One JSON array carries one call or ten thousand. A task id that is already known is left alone (see rearm.sql).
WITH added AS (
    INSERT INTO mirepoix_task (id, name, queue, priority, retries, root_id, parent_id, group_id, eta, due_at, expires_at,
                               content_type, content_encoding, body_encoding, body, headers, properties, exchange, routing_key,
                               sent_fence, version, shape, written_by)
    SELECT r.id, r.name, r.queue, r.priority, r.retries, r.root_id, r.parent_id, r.group_id, r.eta,
           CASE WHEN r.eta > statement_timestamp() THEN r.eta END, r.expires,
           r.content_type, r.content_encoding, r.body_encoding, r.body, CAST(r.headers AS json), CAST(r.properties AS json),
           r.exchange, r.routing_key, r.sent_fence, r.version, r.shape, r.written_by
      FROM json_to_recordset(CAST(:rows AS json)) AS r(
           id text, name text, queue text, priority smallint, retries int, root_id text, parent_id text, group_id text,
           eta timestamptz, expires timestamptz, content_type text, content_encoding text, body_encoding text, body text,
           headers text, properties text, exchange text, routing_key text, sent_fence int, version int, shape text,
           written_by text)
        ON CONFLICT (id) DO NOTHING
    RETURNING id, sent_fence
), woken AS (
    -- One notification a transaction: the server folds equal ones. None for what its sender tells the broker of (-2): the
    -- commits of transactions that notify wait for each other.
    SELECT pg_notify('mirepoix', '') FROM added WHERE sent_fence IS DISTINCT FROM -2 LIMIT 1
)
SELECT id FROM added LEFT JOIN woken ON true
