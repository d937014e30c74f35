-- The messages of tasks that ended without running, if they may be members of a chord.
SELECT t.id, t.queue, t.body, t.headers
  FROM JSON_TABLE({json :ids}, '$[*]' COLUMNS (id {id} PATH '$')) AS w
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = w.id
 WHERE t.content_type = 'application/json' AND t.body_encoding = 'utf-8' AND t.body LIKE '%"chord": {%'
