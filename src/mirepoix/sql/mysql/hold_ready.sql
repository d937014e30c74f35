-- transition: pending -> pending
-- Hold those of a queue's first :batch ready tasks that have a paused name, so that no worker has to take them to see
-- that. With a broker a task that no worker had yet is left out: it is held when its message comes. Then its fence is
-- above 0, and after the resume workers find it as they find what came back.
SELECT ahead.id
  FROM (SELECT id, name, sent_fence, fence
          FROM mirepoix_task FORCE INDEX (mirepoix_task_waiting)
         WHERE queue = :queue AND state = 'pending' AND due_at IS NULL
         ORDER BY priority DESC, seq
         LIMIT :batch) AS ahead
 WHERE ahead.name = :name AND (ahead.sent_fence IS NULL OR ahead.fence > 0)
   AND EXISTS (SELECT 1 FROM mirepoix_hold AS h WHERE h.kind = 'task' AND h.value = :name)
;
SELECT t.id
  FROM {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
 WHERE t.state = 'pending' AND t.due_at IS NULL
   FOR UPDATE {of t} SKIP LOCKED
;
UPDATE {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
   SET t.due_at = {held_until}, t.held_by = :held_by
 WHERE t.state = 'pending'
