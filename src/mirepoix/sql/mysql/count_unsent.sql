-- The number of ready tasks that are not published yet. The column is_unsent replaces the partial index of the other
-- databases.
SELECT count(*) AS tasks FROM mirepoix_task FORCE INDEX (mirepoix_task_unsent) WHERE is_unsent = 1
