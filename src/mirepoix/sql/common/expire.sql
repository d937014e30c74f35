-- transition: pending -> expired
-- The task waited longer than its sender allowed.
UPDATE mirepoix_task
   SET state = 'expired', reason = 'expired before a worker took it', finished_at = {now}
 WHERE state = 'pending' AND expires_at <= {now}
RETURNING id
