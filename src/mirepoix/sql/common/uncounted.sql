-- The oldest failure that is not counted in its group yet, or null.
SELECT min(id) AS id FROM mirepoix_failure
