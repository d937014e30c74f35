-- transition: succeeded|failed|cancelled|expired -> pending
-- A finished task's id was sent again: the same task begins a new generation. Its fence keeps rising.
SELECT t.id
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (id {id} PATH '$.id')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
 WHERE t.state IN ('succeeded', 'failed', 'cancelled', 'expired')
   FOR UPDATE {of t}
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
   SET t.reason = NULL, t.generation = t.generation + 1, t.deaths = 0, t.handovers = 0, t.is_suspect = 0,
       t.name = r.name, t.queue = r.queue, t.priority = r.priority, t.retries = r.retries,
       t.root_id = r.root_id, t.parent_id = r.parent_id, t.group_id = r.group_id, t.eta = {moment r.eta},
       t.due_at = CASE WHEN {moment r.eta} > {now} THEN {moment r.eta} END, t.expires_at = {moment r.expires},
       t.requeued_at = {now}, t.leased_at = NULL, t.started_at = NULL, t.finished_at = NULL, t.run_time_s = NULL, t.peak_memory_kb = NULL,
       t.content_type = r.content_type, t.content_encoding = r.content_encoding, t.body_encoding = r.body_encoding,
       t.body = r.body, t.headers = r.headers, t.properties = r.properties,
       t.exchange = r.exchange, t.routing_key = r.routing_key,
       t.sent_fence = CASE WHEN r.sent_fence IS NOT NULL THEN -1 END, t.version = r.version, t.shape = r.shape, t.written_by = r.written_by, t.state = 'pending'
 WHERE t.state IN ('succeeded', 'failed', 'cancelled', 'expired')
