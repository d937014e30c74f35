-- The number of tasks that finished lately, by state, at most :cap of each. The states are read one after another: each
-- is one end of the index on state and time.
SELECT lately.state, count(*) AS tasks
  FROM ((SELECT state FROM mirepoix_task FORCE INDEX (mirepoix_task_finished)
          WHERE state = 'succeeded' AND finished_at > {earlier :since_s} LIMIT :cap)
         UNION ALL
        (SELECT state FROM mirepoix_task FORCE INDEX (mirepoix_task_finished)
          WHERE state = 'cancelled' AND finished_at > {earlier :since_s} LIMIT :cap)
         UNION ALL
        (SELECT state FROM mirepoix_task FORCE INDEX (mirepoix_task_finished)
          WHERE state = 'expired' AND finished_at > {earlier :since_s} LIMIT :cap)) AS lately
 GROUP BY lately.state
