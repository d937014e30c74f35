-- transition: pending -> cancelled
-- A sender ends calls because their limit has no room. A call that a worker has just taken is left alone.
UPDATE mirepoix_task
   SET state = 'cancelled', reason = :reason, finished_at = {now}
 WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'pending'
RETURNING id
