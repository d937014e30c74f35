-- The process of a worker, and when its maintenance last ran. docs/reference/schema.md explains every column.

ALTER TABLE mirepoix_worker
  ADD COLUMN process text,
  ADD COLUMN maintained_at datetime(6);
