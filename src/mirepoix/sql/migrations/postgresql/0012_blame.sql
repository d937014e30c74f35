-- The evidence for blaming a death on a task, and the generation of a task that was revoked while a worker held it.
-- docs/reference/schema.md explains every column.

ALTER TABLE mirepoix_task ADD COLUMN revoked_generation int;
ALTER TABLE mirepoix_task ADD COLUMN is_suspect smallint NOT NULL DEFAULT 0;
ALTER TABLE mirepoix_worker ADD COLUMN stopping_at timestamptz;
ALTER TABLE mirepoix_worker ADD COLUMN death text;
