-- The broker has confirmed these. A locked row is being taken and does not need this mark.
SELECT t.id
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (id {id} PATH '$.id', fence int PATH '$.fence')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
 WHERE t.fence = r.fence AND t.state = 'pending' AND t.due_at IS NULL
   FOR UPDATE {of t} SKIP LOCKED
;
UPDATE {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
   SET t.sent_fence = t.fence, t.sent_at = {now}, t.sendings = t.sendings + 1
 WHERE t.state = 'pending'
