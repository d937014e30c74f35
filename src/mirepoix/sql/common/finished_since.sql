-- The number of tasks that finished lately, by state, at most :cap. It uses the index on the finishing time.
SELECT state, count(*) AS tasks
  FROM (SELECT state
          FROM mirepoix_task
         WHERE state IN ('succeeded', 'cancelled', 'expired') AND finished_at > {earlier :since_s}
         ORDER BY finished_at DESC
         LIMIT :cap) AS lately
 GROUP BY state
