-- transition: pending -> pending
-- What held these tasks is resumed, so they are ready again, in their order. A task that somebody's open transaction has
-- locked waits for the next round.
SELECT id
  FROM mirepoix_task FORCE INDEX (mirepoix_task_waiting)
 WHERE state = 'pending' AND due_at = {held_until} AND held_by = :held_by
   AND NOT EXISTS (SELECT 1 FROM mirepoix_hold AS h WHERE {hold h} = :held_by)
 LIMIT :batch
   FOR UPDATE SKIP LOCKED
;
UPDATE {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
   SET t.due_at = NULL, t.held_by = NULL, t.requeued_at = {now}
 WHERE t.state = 'pending' AND t.due_at = {held_until}
