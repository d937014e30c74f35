-- By the names of tasks: what a group keeps, and what waits or runs after it.
SELECT t.name, t.state, count(*) AS tasks
  FROM mirepoix_task AS t
 WHERE t.failure_group = :failure_group
   AND t.state IN ('failed', 'quarantined', 'pending', 'leased', 'running')
 GROUP BY t.name, t.state
 ORDER BY count(*) DESC
 LIMIT 100
