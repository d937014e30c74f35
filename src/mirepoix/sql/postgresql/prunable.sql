-- Find and lock finished tasks to delete, oldest first. Tasks that wait for a decision are never pruned. Tasks that
-- another transaction has locked (it sends the task again, or prunes it) are skipped.
SELECT id
  FROM mirepoix_task
 WHERE state IN ('succeeded', 'cancelled', 'expired') AND finished_at < {earlier :older_than_s}
 ORDER BY finished_at
 LIMIT :batch
   FOR UPDATE SKIP LOCKED
