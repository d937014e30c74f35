-- The oldest failure that is not yet counted in its group, or null.
SELECT min(id) AS id FROM mirepoix_failure
