-- When a channel was told that an alert is over. Every column is explained in docs/reference/schema.md.

ALTER TABLE mirepoix_alert_telling ADD COLUMN end_told_at text;
