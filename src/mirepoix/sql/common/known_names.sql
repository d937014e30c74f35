-- The names of the tasks that wait or that workers have.
SELECT DISTINCT name
  FROM mirepoix_task
 WHERE state IN ('pending', 'leased', 'running')
