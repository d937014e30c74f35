-- Note what the code says of a limit. A person may have changed its values.
UPDATE mirepoix_limit SET code = :code, is_weighted = :is_weighted WHERE name = :name
