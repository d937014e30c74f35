-- transition: new -> pending
-- One JSON array carries one call or ten thousand. A task id that is already known is left alone (see rearm.sql).
INSERT INTO mirepoix_task (id, name, queue, priority, retries, root_id, parent_id, group_id, eta, due_at, expires_at,
                           content_type, content_encoding, body_encoding, body, headers, properties, exchange, routing_key,
                           sent_fence, version, shape, written_by)
SELECT json_extract(value, '$.id'), json_extract(value, '$.name'), json_extract(value, '$.queue'),
       json_extract(value, '$.priority'), json_extract(value, '$.retries'), json_extract(value, '$.root_id'),
       json_extract(value, '$.parent_id'), json_extract(value, '$.group_id'),
       strftime('%Y-%m-%d %H:%M:%f', json_extract(value, '$.eta')),
       CASE WHEN julianday(json_extract(value, '$.eta')) > julianday('now')
            THEN strftime('%Y-%m-%d %H:%M:%f', json_extract(value, '$.eta')) END,
       strftime('%Y-%m-%d %H:%M:%f', json_extract(value, '$.expires')),
       json_extract(value, '$.content_type'), json_extract(value, '$.content_encoding'),
       json_extract(value, '$.body_encoding'), json_extract(value, '$.body'), json_extract(value, '$.headers'),
       json_extract(value, '$.properties'), json_extract(value, '$.exchange'), json_extract(value, '$.routing_key'),
       json_extract(value, '$.sent_fence'), json_extract(value, '$.version'), json_extract(value, '$.shape'),
       json_extract(value, '$.written_by')
  FROM json_each(:rows)
 WHERE true
    ON CONFLICT (id) DO NOTHING
RETURNING id
