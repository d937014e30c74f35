-- When a task began to wait again, and the decisions of people about it: who, when and why.
-- docs/reference/schema.md explains every column.

ALTER TABLE mirepoix_task ADD COLUMN requeued_at text;

CREATE TABLE mirepoix_decision (
    id                integer PRIMARY KEY AUTOINCREMENT,
    task_id           text NOT NULL REFERENCES mirepoix_task (id) ON DELETE CASCADE,
    decided_at        text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    verb              text NOT NULL,
    decided_by        text NOT NULL,
    reason            text NOT NULL
);
CREATE INDEX mirepoix_decision_task ON mirepoix_decision (task_id);
