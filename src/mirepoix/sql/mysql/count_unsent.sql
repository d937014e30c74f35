-- How many ready tasks the broker is still to be told of. The column is_unsent stands for the partial index of the others.
SELECT count(*) AS tasks FROM mirepoix_task FORCE INDEX (mirepoix_task_unsent) WHERE is_unsent = 1
