-- How many tasks there are, by their states. Reads the whole table.
SELECT state, count(*) AS tasks FROM mirepoix_task GROUP BY state
