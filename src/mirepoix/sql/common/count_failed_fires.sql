-- How many runs in a row have failed.
UPDATE mirepoix_schedule SET failures = :failures WHERE id = :name
