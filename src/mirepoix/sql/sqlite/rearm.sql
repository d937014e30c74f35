-- transition: succeeded|failed|cancelled|expired -> pending
-- A finished task's id was sent again: the same task begins a new generation. Its fence keeps rising.
UPDATE mirepoix_task AS t
   SET state = 'pending', reason = NULL, generation = t.generation + 1, deaths = 0, handovers = 0, is_suspect = 0,
       name = r.name, queue = r.queue, priority = r.priority, retries = r.retries,
       root_id = r.root_id, parent_id = r.parent_id, group_id = r.group_id,
       eta = r.eta, due_at = CASE WHEN r.eta > strftime('%Y-%m-%d %H:%M:%f', 'now') THEN r.eta END, expires_at = r.expires,
       requeued_at = strftime('%Y-%m-%d %H:%M:%f', 'now'), leased_at = NULL, started_at = NULL, finished_at = NULL, run_time_s = NULL, peak_memory_kb = NULL,
       content_type = r.content_type, content_encoding = r.content_encoding, body_encoding = r.body_encoding,
       body = r.body, headers = r.headers, properties = r.properties,
       exchange = r.exchange, routing_key = r.routing_key,
       sent_fence = CASE WHEN r.sent_fence IS NOT NULL THEN -1 END, version = r.version, shape = r.shape,
       written_by = r.written_by
  FROM (SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.name') AS name,
               json_extract(value, '$.queue') AS queue, json_extract(value, '$.priority') AS priority,
               json_extract(value, '$.retries') AS retries, json_extract(value, '$.root_id') AS root_id,
               json_extract(value, '$.parent_id') AS parent_id, json_extract(value, '$.group_id') AS group_id,
               strftime('%Y-%m-%d %H:%M:%f', json_extract(value, '$.eta')) AS eta,
               strftime('%Y-%m-%d %H:%M:%f', json_extract(value, '$.expires')) AS expires,
               json_extract(value, '$.content_type') AS content_type,
               json_extract(value, '$.content_encoding') AS content_encoding,
               json_extract(value, '$.body_encoding') AS body_encoding, json_extract(value, '$.body') AS body,
               json_extract(value, '$.headers') AS headers, json_extract(value, '$.properties') AS properties,
               json_extract(value, '$.exchange') AS exchange, json_extract(value, '$.routing_key') AS routing_key,
               json_extract(value, '$.sent_fence') AS sent_fence,
               json_extract(value, '$.version') AS version, json_extract(value, '$.shape') AS shape,
               json_extract(value, '$.written_by') AS written_by
          FROM json_each(:rows)) AS r
 WHERE t.id = r.id AND t.state IN ('succeeded', 'failed', 'cancelled', 'expired')
RETURNING id
