-- The tasks that are parked for other code, each kind once. It jumps along the index from kind to kind, however many
-- tasks each kind has.
WITH RECURSIVE found (shape) AS (
    SELECT min(shape) FROM mirepoix_task WHERE state = 'parked' AND parked_for IS NOT NULL
    UNION ALL
    SELECT (SELECT min(t.shape) FROM mirepoix_task AS t
             WHERE t.state = 'parked' AND t.parked_for IS NOT NULL AND t.shape > found.shape)
      FROM found
     WHERE found.shape IS NOT NULL
)
SELECT shape FROM found WHERE shape IS NOT NULL
