-- The versions of Celery and kombu that wrote a task's message. Null: an older release or another program wrote it.
-- docs/reference/schema.md explains every column.

ALTER TABLE mirepoix_task ADD COLUMN written_by varchar(255);
