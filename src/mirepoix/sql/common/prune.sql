-- Deletes finished tasks, oldest first; their attempts go with them. What needs attention is never pruned.
-- The guard stands outside too: a task that is requeued or sent again meanwhile must not be deleted as it was.
DELETE FROM mirepoix_task
 WHERE id IN (SELECT id
                FROM mirepoix_task
               WHERE state IN ('succeeded', 'cancelled', 'expired') AND finished_at < {earlier :older_than_s}
               ORDER BY finished_at
               LIMIT :batch)
   AND state IN ('succeeded', 'cancelled', 'expired') AND finished_at < {earlier :older_than_s}
RETURNING id
