-- The number of tasks that failed lately, at most :cap. It uses the index on the finishing time.
SELECT count(*) AS tasks
  FROM (SELECT 1
          FROM mirepoix_task
         WHERE state IN ('failed', 'quarantined', 'parked') AND state = 'failed' AND finished_at > {earlier :since_s}
         LIMIT :cap) AS lately
