-- How many tasks finished lately, by state. Counted through the index on the time of finishing, and never more than :cap.
SELECT state, count(*) AS tasks
  FROM (SELECT state
          FROM mirepoix_task
         WHERE state IN ('succeeded', 'cancelled', 'expired') AND finished_at > {earlier :since_s}
         ORDER BY finished_at DESC
         LIMIT :cap) AS lately
 GROUP BY state
