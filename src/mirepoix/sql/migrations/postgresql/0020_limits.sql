-- Limits: how many tasks with a key may run at once, or begin in a period. docs/reference/schema.md explains every column.

-- "mirepoix migrate" adds the column and builds the indexes before this script, while senders write
-- (mirepoix.operations.indexes).
ALTER TABLE mirepoix_task ADD COLUMN IF NOT EXISTS limit_key text COLLATE "C";

-- What a worker takes without a limit. The tasks with a limit are in an index of their own, so their backlog does not
-- slow down the others. The conditions are written so that a statement that repeats them can use no other index: the
-- planner, which often does not know how many tasks wait, might choose mirepoix_task_ready and read all of the queue.
CREATE INDEX IF NOT EXISTS mirepoix_task_open ON mirepoix_task (queue, priority DESC, seq)
 WHERE CASE WHEN due_at IS NULL AND limit_key IS NULL THEN state END = 'pending';
CREATE INDEX IF NOT EXISTS mirepoix_task_limited ON mirepoix_task (queue, limit_key, priority DESC, seq)
 WHERE CASE WHEN state = 'pending' AND due_at IS NULL THEN limit_key END IS NOT NULL;
CREATE INDEX IF NOT EXISTS mirepoix_task_slots ON mirepoix_task (limit_key)
 WHERE state IN ('leased', 'running') AND limit_key IS NOT NULL;

CREATE TABLE mirepoix_limit (
    name              varchar(255) PRIMARY KEY,
    running           integer,
    rate              integer,
    period_s          double precision,
    source            text NOT NULL,
    code              text,
    changed_at        timestamptz NOT NULL,
    changed_by        text NOT NULL
);

-- The row that a worker locks while it takes tasks with a key. Workers make these rows, and never a sender.
CREATE TABLE mirepoix_limit_key (
    id                text COLLATE "C" PRIMARY KEY,
    starts            text,
    kept_until        timestamptz NOT NULL
);
