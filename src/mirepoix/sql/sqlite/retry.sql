-- transition: leased|running -> pending
-- The attempt asks for another: the message it sent under its own id replaces the one it ran from.
-- The + keeps the planner off the index on worker_id: each row is found by its id.
UPDATE mirepoix_task AS t
   SET state = 'pending', reason = :reason, is_suspect = 0, generation = t.generation + 1,
       revoked_generation = CASE WHEN t.revoked_generation = t.generation THEN t.generation + 1 END,
       name = r.name, queue = r.queue, priority = r.priority, retries = r.retries,
       eta = r.eta, requeued_at = NULL, due_at = CASE WHEN r.eta > strftime('%Y-%m-%d %H:%M:%f', 'now') THEN r.eta END, expires_at = r.expires,
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
 WHERE t.id = r.id AND t.id = :task_id AND t.fence = :fence AND +t.worker_id = :worker_id
   AND t.state IN ('leased', 'running')
RETURNING id, fence, generation - 1 AS generation, worker_id, leased_at, started_at, name
