-- How many tasks workers hold of each key from :first to :last.
SELECT limit_key, count(*) AS tasks
  FROM mirepoix_task
 WHERE state IN ('leased', 'running') AND limit_key IS NOT NULL AND limit_key >= :first AND limit_key <= :last
 GROUP BY limit_key
