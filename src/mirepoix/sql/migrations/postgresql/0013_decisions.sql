-- When a task began to wait again, and the decisions of people about it: who, when and why.
-- docs/reference/schema.md explains every column.

ALTER TABLE mirepoix_task ADD COLUMN requeued_at timestamptz;

CREATE TABLE mirepoix_decision (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id           varchar(255) NOT NULL REFERENCES mirepoix_task (id) ON DELETE CASCADE,
    decided_at        timestamptz NOT NULL DEFAULT statement_timestamp(),
    verb              text NOT NULL,
    decided_by        text NOT NULL,
    reason            text NOT NULL
);
CREATE INDEX mirepoix_decision_task ON mirepoix_decision (task_id);
