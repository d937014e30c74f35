-- transition: pending -> cancelled
-- celery purge: the rows stay, so that nothing vanishes without a word.
UPDATE mirepoix_task
   SET state = 'cancelled', reason = 'purged', finished_at = {now}
 WHERE queue = :queue AND state = 'pending'
RETURNING id
