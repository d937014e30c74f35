-- The number of failure groups by their latest decision, and apart those that failed again after they were resolved.
SELECT CASE WHEN state = 'open' AND regressed_at IS NOT NULL AND (decided_at IS NULL OR regressed_at >= decided_at)
            THEN 'regressed' ELSE state END AS status,
       count(*) AS causes
  FROM mirepoix_failure_group
 GROUP BY status
