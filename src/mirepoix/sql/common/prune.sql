-- Delete finished tasks, oldest first, with their attempts. Tasks that wait for a decision are never pruned. The outer
-- guard protects a task that is requeued or sent again meanwhile.
DELETE FROM mirepoix_task
 WHERE id IN (SELECT id
                FROM mirepoix_task
               WHERE state IN ('succeeded', 'cancelled', 'expired') AND finished_at < {earlier :older_than_s}
               ORDER BY finished_at
               LIMIT :batch)
   AND state IN ('succeeded', 'cancelled', 'expired') AND finished_at < {earlier :older_than_s}
RETURNING id
