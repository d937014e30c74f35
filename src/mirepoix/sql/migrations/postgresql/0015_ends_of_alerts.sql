-- When a channel was notified of an alert's end. docs/reference/schema.md explains every column.

ALTER TABLE mirepoix_alert_telling ADD COLUMN end_told_at timestamptz;
