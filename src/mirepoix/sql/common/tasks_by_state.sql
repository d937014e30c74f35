-- The number of tasks in each state. Reads the whole table.
SELECT state, count(*) AS tasks FROM mirepoix_task GROUP BY state
