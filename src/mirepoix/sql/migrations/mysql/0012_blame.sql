-- On what evidence a death is blamed on a task, and which generation of a task was revoked while a worker held it. Every column is
-- explained in docs/reference/schema.md.

ALTER TABLE mirepoix_task
  ADD COLUMN revoked_generation int,
  ADD COLUMN is_suspect smallint NOT NULL DEFAULT 0;
ALTER TABLE mirepoix_worker
  ADD COLUMN stopping_at datetime(6),
  ADD COLUMN death text;
