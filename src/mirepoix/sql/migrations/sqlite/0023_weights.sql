-- Whether the calls of a limit have weights, so that a worker knows that it must read them. docs/reference/schema.md explains
-- every column.
ALTER TABLE mirepoix_limit ADD COLUMN is_weighted integer NOT NULL DEFAULT 0;
