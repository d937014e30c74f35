-- Limits: how many tasks with a key may run at once, or begin in a period. docs/reference/schema.md explains every column.

ALTER TABLE mirepoix_task ADD COLUMN limit_key text;

-- What a worker takes without a limit. The tasks with a limit are in an index of their own, so their backlog does not
-- slow down the others.
CREATE INDEX mirepoix_task_open ON mirepoix_task (queue, priority DESC, seq)
 WHERE state = 'pending' AND due_at IS NULL AND limit_key IS NULL;
CREATE INDEX mirepoix_task_limited ON mirepoix_task (queue, limit_key, priority DESC, seq)
 WHERE state = 'pending' AND due_at IS NULL AND limit_key IS NOT NULL;
CREATE INDEX mirepoix_task_slots ON mirepoix_task (limit_key)
 WHERE state IN ('leased', 'running') AND limit_key IS NOT NULL;

CREATE TABLE mirepoix_limit (
    name              text NOT NULL PRIMARY KEY,
    running           integer,
    rate              integer,
    period_s          real,
    source            text NOT NULL,
    code              text,
    changed_at        text NOT NULL,
    changed_by        text NOT NULL
);

-- What is remembered of a key. Workers make these rows, and never a sender.
CREATE TABLE mirepoix_limit_key (
    id                text NOT NULL PRIMARY KEY,
    starts            text,
    kept_until        text NOT NULL
);
