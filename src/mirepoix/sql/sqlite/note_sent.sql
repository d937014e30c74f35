-- The broker has confirmed these.
UPDATE mirepoix_task AS t
   SET sent_fence = t.fence, sent_at = strftime('%Y-%m-%d %H:%M:%f', 'now'), sendings = t.sendings + 1
  FROM (SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.fence') AS fence FROM json_each(:rows)) AS r
 WHERE t.id = r.id AND t.fence = r.fence AND t.state = 'pending' AND t.due_at IS NULL
