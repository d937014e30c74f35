-- What is paused, by whom and since when, and who paused and resumed what. docs/reference/schema.md explains every column.

CREATE TABLE mirepoix_hold (
    kind              text NOT NULL,
    value             text NOT NULL,
    paused_at         text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    paused_by         text NOT NULL,
    note              text NOT NULL,
    PRIMARY KEY (kind, value)
);

CREATE TABLE mirepoix_steering (
    id                integer PRIMARY KEY AUTOINCREMENT,
    decided_at        text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    verb              text NOT NULL,
    kind              text NOT NULL,
    value             text NOT NULL,
    decided_by        text NOT NULL,
    reason            text NOT NULL
);

-- What holds a waiting task. It counts only while due_at is the last day of 9999, which keeps the row out of the index
-- of ready rows.
ALTER TABLE mirepoix_task ADD COLUMN held_by text;
