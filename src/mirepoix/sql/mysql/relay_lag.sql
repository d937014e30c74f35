-- How long the oldest ready task that is not published yet has been ready, in seconds; null if there is none. The column
-- is_unsent replaces the partial index of the other databases.
SELECT max({waited_s t}) AS oldest_s FROM mirepoix_task AS t FORCE INDEX (mirepoix_task_unsent) WHERE t.is_unsent = 1
