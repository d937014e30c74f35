-- How many tasks failed lately. Counted through the index on the time of finishing, and never more than :cap.
SELECT count(*) AS tasks
  FROM (SELECT 1
          FROM mirepoix_task
         WHERE state IN ('failed', 'quarantined', 'parked') AND state = 'failed' AND finished_at > {earlier :since_s}
         LIMIT :cap) AS lately
