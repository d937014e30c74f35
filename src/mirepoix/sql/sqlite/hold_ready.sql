-- transition: pending -> pending
-- Hold those of a queue's first :batch ready tasks that have a paused name, so that no worker has to take them to see
-- that. With a broker a task that no worker had yet is left out: it is held when its message comes. Then its fence is
-- above 0, and after the resume workers find it as they find what came back.
UPDATE mirepoix_task
   SET due_at = {held_until}, held_by = :held_by
 WHERE seq IN (SELECT ahead.seq
                 FROM (SELECT seq, name, sent_fence, fence
                         FROM mirepoix_task
                        WHERE queue = :queue AND state = 'pending' AND due_at IS NULL
                        ORDER BY priority DESC, seq
                        LIMIT :batch) AS ahead
                WHERE ahead.name = :name AND (ahead.sent_fence IS NULL OR ahead.fence > 0))
   AND state = 'pending'
   AND EXISTS (SELECT 1 FROM mirepoix_hold AS h WHERE h.kind = 'task' AND h.value = :name)
RETURNING id
