-- transition: pending -> pending
-- Hold those of a queue's first :batch ready tasks that have a paused name, so that no worker has to take them to see
-- that. With a broker a task that no worker had yet is left out: it is held when its message comes. Then its fence is
-- above 0, and after the resume workers find it as they find what came back.
WITH ahead AS (
    SELECT id, name, sent_fence, fence
      FROM mirepoix_task
     WHERE queue = :queue AND state = 'pending' AND due_at IS NULL
     ORDER BY priority DESC, seq
     LIMIT :batch
), chosen AS (
    SELECT t.id
      FROM ahead
     CROSS JOIN LATERAL (SELECT id, state, due_at FROM mirepoix_task WHERE id = ahead.id OFFSET 0 FOR UPDATE SKIP LOCKED) AS t
     WHERE ahead.name = :name AND (ahead.sent_fence IS NULL OR ahead.fence > 0) AND t.state = 'pending' AND t.due_at IS NULL
       AND EXISTS (SELECT 1 FROM mirepoix_hold AS h WHERE h.kind = 'task' AND h.value = :name)
)
UPDATE mirepoix_task AS t
   SET due_at = {held_until}, held_by = :held_by
  FROM chosen
 WHERE t.id = chosen.id
RETURNING t.id
