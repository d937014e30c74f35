-- Remove a limit. Tasks that wait at it have no limit from now on.
DELETE FROM mirepoix_limit WHERE name = :name
