-- transition: pending -> cancelled
-- A sender ends calls because their limit has no room. A call that a worker has just taken is left alone.
SELECT t.id
  FROM JSON_TABLE({json :ids}, '$[*]' COLUMNS (id {id} PATH '$')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
 WHERE t.state = 'pending'
   FOR UPDATE {of t}
;
UPDATE {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
   SET t.reason = :reason, t.finished_at = {now}, t.state = 'cancelled'
 WHERE t.state = 'pending'
