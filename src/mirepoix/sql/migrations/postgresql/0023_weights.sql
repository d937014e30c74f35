-- Whether the calls of a limit have weights, so that a worker knows that it must read them. docs/reference/schema.md explains
-- every column.
ALTER TABLE mirepoix_limit ADD COLUMN IF NOT EXISTS is_weighted smallint NOT NULL DEFAULT 0;
