-- transition: pending -> pending
-- What held these tasks is resumed, so they are ready again, in their order.
UPDATE mirepoix_task
   SET due_at = NULL, held_by = NULL, requeued_at = {now}
 WHERE seq IN (SELECT held.seq FROM mirepoix_task AS held
                WHERE held.state = 'pending' AND held.due_at = {held_until} AND held.held_by = :held_by
                LIMIT :batch)
   AND NOT EXISTS (SELECT 1 FROM mirepoix_hold AS h WHERE {hold h} = :held_by)
RETURNING id
