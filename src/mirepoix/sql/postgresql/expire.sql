-- transition: pending -> expired
-- The task waited longer than its sender allowed. A row that somebody's open transaction has locked waits for the next
-- sweep.
UPDATE mirepoix_task
   SET state = 'expired', reason = 'expired before a worker took it', finished_at = {now}
 WHERE id IN (SELECT late.id FROM mirepoix_task AS late
               WHERE late.state = 'pending' AND late.expires_at <= {now}
                 FOR UPDATE SKIP LOCKED)
RETURNING id
