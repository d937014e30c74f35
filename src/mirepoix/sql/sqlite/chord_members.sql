-- The messages of tasks that ended without running, if they may be members of a chord.
SELECT t.id, t.queue, t.body, t.headers
  FROM mirepoix_task AS t
 WHERE t.id IN (SELECT value FROM json_each(:ids))
   AND t.content_type = 'application/json' AND t.body_encoding = 'utf-8' AND t.body LIKE '%"chord": {%'
