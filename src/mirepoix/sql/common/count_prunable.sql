-- The number of finished tasks that are old enough to be pruned. It uses the index on the finishing time.
SELECT count(*) AS tasks
  FROM mirepoix_task
 WHERE state IN ('succeeded', 'cancelled', 'expired') AND finished_at < {earlier :older_than_s}
