-- Which Celery and kombu wrote a task's message. Null: written by a release that did not note it, or by another program.
-- Every column is explained in docs/reference/schema.md.

ALTER TABLE mirepoix_task ADD COLUMN written_by text;
