-- transition: pending -> pending
-- What held these tasks is resumed, so they are ready again, in their order. A task that somebody's open transaction has
-- locked waits for the next round.
UPDATE mirepoix_task
   SET due_at = NULL, held_by = NULL, requeued_at = {now}
 WHERE id IN (SELECT held.id FROM mirepoix_task AS held
               WHERE held.state = 'pending' AND held.due_at = {held_until} AND held.held_by = :held_by
               LIMIT :batch
                 FOR UPDATE SKIP LOCKED)
   AND NOT EXISTS (SELECT 1 FROM mirepoix_hold AS h WHERE {hold h} = :held_by)
RETURNING id
