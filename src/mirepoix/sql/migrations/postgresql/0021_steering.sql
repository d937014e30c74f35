-- What is paused, by whom and since when, and who paused and resumed what. docs/reference/schema.md explains every column.

CREATE TABLE mirepoix_hold (
    kind              varchar(32) NOT NULL,
    value             varchar(255) NOT NULL,
    paused_at         timestamptz NOT NULL DEFAULT statement_timestamp(),
    paused_by         text NOT NULL,
    note              text NOT NULL,
    PRIMARY KEY (kind, value)
);

CREATE TABLE mirepoix_steering (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decided_at        timestamptz NOT NULL DEFAULT statement_timestamp(),
    verb              text NOT NULL,
    kind              varchar(32) NOT NULL,
    value             varchar(255) NOT NULL,
    decided_by        text NOT NULL,
    reason            text NOT NULL
);

-- What holds a waiting task. It counts only while due_at is the last day of 9999, which keeps the row out of the index
-- of ready rows.
ALTER TABLE mirepoix_task ADD COLUMN held_by text;
