-- The tasks that are parked for other code, each kind once. The column parked_shape replaces the partial index of the
-- other databases.
SELECT DISTINCT parked_shape AS shape FROM mirepoix_task WHERE parked_shape IS NOT NULL
