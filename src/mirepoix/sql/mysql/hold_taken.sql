-- transition: leased -> pending
-- A worker took these tasks, and their name is paused. Their fences stay raised. Nothing is changed if the name has been
-- resumed.
SELECT t.id
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (id {id} PATH '$.id', fence int PATH '$.fence')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
 WHERE t.worker_id = :worker_id AND t.state = 'leased' AND t.fence = r.fence AND t.name = :name
   AND EXISTS (SELECT 1 FROM mirepoix_hold AS h WHERE h.kind = 'task' AND h.value = :name)
   FOR UPDATE {of t}
;
UPDATE JSON_TABLE({json :rows}, '$[*]' COLUMNS (id {id} PATH '$.id', fence int PATH '$.fence')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
   SET t.state = 'pending', t.worker_id = NULL, t.due_at = {held_until}, t.held_by = :held_by
 WHERE t.worker_id = :worker_id AND t.state = 'leased' AND t.fence = r.fence AND t.name = :name
