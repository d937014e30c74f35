-- Limits: how many tasks with a key may run at once, or begin in a period. docs/reference/schema.md explains every column.

-- open_queue and gate replace the partial indexes of the other databases. Each is NULL for the rows that such an index
-- leaves out. gate is 'w', the queue, a line feed and the key for a task that waits, and 'h' and the key for a task that
-- a worker holds. Columns and indexes are separate statements, because MariaDB would lock the table during one.
-- MariaDB rebuilds a table with indexed virtual columns for each statement that adds a stored column, and writes wait. So
-- the column of 0021_steering is added here, and that script finds it.
ALTER TABLE mirepoix_task ADD COLUMN limit_key varchar(255), ADD COLUMN held_by text;
ALTER TABLE mirepoix_task
  ADD COLUMN open_queue varchar(255)
      GENERATED ALWAYS AS (CASE WHEN state = 'pending' AND due_at IS NULL AND limit_key IS NULL THEN queue END)
      VIRTUAL INVISIBLE,
  ADD COLUMN gate varchar(520)
      GENERATED ALWAYS AS (CASE WHEN limit_key IS NULL THEN NULL
                                WHEN state = 'pending' AND due_at IS NULL THEN CONCAT('w', queue, CHAR(10), limit_key)
                                WHEN state IN ('leased', 'running') THEN CONCAT('h', limit_key) END)
      VIRTUAL INVISIBLE;
ALTER TABLE mirepoix_task
  ADD KEY mirepoix_task_open (open_queue, priority DESC, seq);
ALTER TABLE mirepoix_task
  ADD KEY mirepoix_task_limited (gate, priority DESC, seq);

CREATE TABLE IF NOT EXISTS mirepoix_limit (
    name              varchar(255) NOT NULL PRIMARY KEY,
    running           int,
    rate              int,
    period_s          double,
    source            text NOT NULL,
    code              text,
    changed_at        datetime(6) NOT NULL,
    changed_by        text NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The row that a worker locks while it takes tasks with a key. Workers make these rows, and never a sender.
CREATE TABLE IF NOT EXISTS mirepoix_limit_key (
    id                varchar(255) NOT NULL PRIMARY KEY,
    starts            text,
    kept_until        datetime(6) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
