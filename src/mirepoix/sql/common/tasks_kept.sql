-- The number of finished tasks, and of those that finished within a day.
SELECT count(*) AS finished, coalesce(sum(CASE WHEN finished_at > {earlier 86400} THEN 1 ELSE 0 END), 0) AS finished_in_a_day
  FROM mirepoix_task
 WHERE state IN ('succeeded', 'cancelled', 'expired')
