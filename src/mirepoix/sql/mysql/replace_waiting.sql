-- transition: pending -> pending
-- The sender of a unique task replaces a call that still waits: its arguments, its time, its queue. It is a new
-- generation, so that a message about the old call is stale.
SELECT t.id
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (id {id} PATH '$.id')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
 WHERE t.state = 'pending'
   FOR UPDATE {of t}
;
UPDATE {envelope rows}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
   SET t.reason = NULL, t.generation = t.generation + 1, t.deaths = 0, t.handovers = 0, t.is_suspect = 0,
       {envelope changes},
       t.root_id = r.root_id, t.parent_id = r.parent_id, t.group_id = r.group_id, t.requeued_at = {now},
       t.sent_fence = CASE WHEN r.sent_fence IS NOT NULL THEN -1 END
 WHERE t.state = 'pending'
