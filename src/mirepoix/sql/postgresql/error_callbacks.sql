-- The messages of tasks that did not run to an end, if they have error callbacks.
SELECT t.id, t.queue, t.body, t.headers
  FROM mirepoix_task AS t
 WHERE t.id IN (SELECT value FROM json_array_elements_text(CAST(:ids AS json)) AS w(value))
   AND t.content_type = 'application/json' AND t.body_encoding = 'utf-8' AND t.body LIKE '%"errbacks": [{%'
