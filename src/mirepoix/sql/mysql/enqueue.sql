-- transition: new -> pending
-- One JSON array carries one call or ten thousand. A task id that is already known is left alone (see rearm.sql).
-- at first taken to be every "id" of :rows
SELECT r.id
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (id {id} PATH '$.id')) AS r
  LEFT JOIN mirepoix_task AS t ON t.id = r.id
 WHERE t.id IS NULL
;
INSERT INTO mirepoix_task (id, name, queue, priority, retries, root_id, parent_id, group_id, eta, due_at, expires_at,
                           content_type, content_encoding, body_encoding, body, headers, properties, exchange, routing_key,
                           sent_fence, version, shape, written_by)
SELECT r.id, r.name, r.queue, r.priority, r.retries, r.root_id, r.parent_id, r.group_id, {moment r.eta},
       CASE WHEN {moment r.eta} > {now} THEN {moment r.eta} END, {moment r.expires},
       r.content_type, r.content_encoding, r.body_encoding, r.body, r.headers, r.properties, r.exchange, r.routing_key,
       r.sent_fence, r.version, r.shape, r.written_by
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (
           number FOR ORDINALITY, id {id} PATH '$.id', name {text} PATH '$.name', queue {text} PATH '$.queue', priority smallint PATH '$.priority',
           retries int PATH '$.retries', root_id {text} PATH '$.root_id', parent_id {text} PATH '$.parent_id',
           group_id {text} PATH '$.group_id', eta {text} PATH '$.eta', expires {text} PATH '$.expires',
           content_type {text} PATH '$.content_type', content_encoding {text} PATH '$.content_encoding',
           body_encoding {text} PATH '$.body_encoding', body {text} PATH '$.body', headers {text} PATH '$.headers',
           properties {text} PATH '$.properties', exchange {text} PATH '$.exchange', routing_key {text} PATH '$.routing_key',
           sent_fence int PATH '$.sent_fence', version int PATH '$.version', shape {text} PATH '$.shape',
           written_by {text} PATH '$.written_by')) AS r
 WHERE r.id IN (SELECT found.id FROM {found})
 ORDER BY r.number
