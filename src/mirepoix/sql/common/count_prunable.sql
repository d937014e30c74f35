-- How many finished tasks are old enough to be pruned. Counted through the index on the time of finishing.
SELECT count(*) AS tasks
  FROM mirepoix_task
 WHERE state IN ('succeeded', 'cancelled', 'expired') AND finished_at < {earlier :older_than_s}
