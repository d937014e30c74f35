-- Which generation of a task was revoked while a worker held it. Every column is explained in docs/reference/schema.md.

ALTER TABLE mirepoix_task ADD COLUMN revoked_generation int;
