-- transition: pending -> cancelled
-- celery purge: the rows stay, so that nothing vanishes silently. Ready and scheduled tasks are found through their
-- indexes.
UPDATE mirepoix_task
   SET state = 'cancelled', reason = 'purged', finished_at = {now}
 WHERE id IN (SELECT id FROM mirepoix_task WHERE queue = :queue AND state = 'pending' AND due_at IS NULL
               UNION ALL
              SELECT id FROM mirepoix_task WHERE queue = :queue AND state = 'pending' AND due_at IS NOT NULL)
   AND state = 'pending'
RETURNING id
