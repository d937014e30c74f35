-- Which process a worker is, and when its maintenance last came round. Every column is explained in docs/reference/schema.md.

ALTER TABLE mirepoix_worker ADD COLUMN process text;
ALTER TABLE mirepoix_worker ADD COLUMN maintained_at text;
