-- transition: leased|running -> pending
-- The attempt asks for another: the message it sent under its own id replaces the one it ran from.
SELECT id, fence, generation, worker_id, leased_at, started_at, name
  FROM mirepoix_task
 WHERE id = :task_id AND fence = :fence AND worker_id = :worker_id AND state IN ('leased', 'running')
   FOR UPDATE
;
UPDATE JSON_TABLE({json :rows}, '$[*]' COLUMNS (
           id {id} PATH '$.id', name {text} PATH '$.name', queue {text} PATH '$.queue', priority smallint PATH '$.priority',
           retries int PATH '$.retries', root_id {text} PATH '$.root_id', parent_id {text} PATH '$.parent_id',
           group_id {text} PATH '$.group_id', eta {text} PATH '$.eta', expires {text} PATH '$.expires',
           content_type {text} PATH '$.content_type', content_encoding {text} PATH '$.content_encoding',
           body_encoding {text} PATH '$.body_encoding', body {text} PATH '$.body', headers {text} PATH '$.headers',
           properties {text} PATH '$.properties', exchange {text} PATH '$.exchange', routing_key {text} PATH '$.routing_key',
           sent_fence int PATH '$.sent_fence', version int PATH '$.version', shape {text} PATH '$.shape',
           written_by {text} PATH '$.written_by')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
   SET t.reason = :reason, t.is_suspect = 0,
       t.revoked_generation = CASE WHEN t.revoked_generation = t.generation THEN t.generation + 1 END,
       t.generation = t.generation + 1,
       t.name = r.name, t.queue = r.queue, t.priority = r.priority, t.retries = r.retries, t.eta = {moment r.eta}, t.requeued_at = NULL,
       t.due_at = CASE WHEN {moment r.eta} > {now} THEN {moment r.eta} END, t.expires_at = {moment r.expires},
       t.content_type = r.content_type, t.content_encoding = r.content_encoding, t.body_encoding = r.body_encoding,
       t.body = r.body, t.headers = r.headers, t.properties = r.properties,
       t.exchange = r.exchange, t.routing_key = r.routing_key,
       t.sent_fence = CASE WHEN r.sent_fence IS NOT NULL THEN -1 END, t.version = r.version, t.shape = r.shape, t.written_by = r.written_by, t.state = 'pending'
 WHERE t.id = :task_id AND t.fence = :fence AND t.worker_id = :worker_id AND t.state IN ('leased', 'running')
