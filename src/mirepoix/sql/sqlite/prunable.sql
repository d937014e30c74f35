-- Find finished tasks to delete, oldest first. Tasks that wait for a decision are never pruned. This transaction
-- writes, so no other can.
SELECT id
  FROM mirepoix_task
 WHERE state IN ('succeeded', 'cancelled', 'expired') AND finished_at < {earlier :older_than_s}
 ORDER BY finished_at
 LIMIT :batch
