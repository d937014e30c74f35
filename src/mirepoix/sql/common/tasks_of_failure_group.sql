-- By task name: the kept tasks of a group, and those that wait or run after a failure.
SELECT t.name, t.state, count(*) AS tasks
  FROM mirepoix_task AS t
 WHERE t.failure_group = :failure_group
   AND t.state IN ('failed', 'quarantined', 'pending', 'leased', 'running')
 GROUP BY t.name, t.state
 ORDER BY count(*) DESC
 LIMIT 100
