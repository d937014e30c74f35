-- Note what the code says of a limit that a person has changed.
UPDATE mirepoix_limit SET code = :code WHERE name = :name
