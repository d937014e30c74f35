-- How many tasks of each key a limit allows at once.
SELECT running FROM mirepoix_limit WHERE name = :name
