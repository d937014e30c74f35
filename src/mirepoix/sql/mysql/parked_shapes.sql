-- What is parked for other code, each kind once: the column parked_shape stands for the partial index of the others.
SELECT DISTINCT parked_shape AS shape FROM mirepoix_task WHERE parked_shape IS NOT NULL
