-- What an attempt ran and how long its task had waited, and the totals of pruned attempts. docs/reference/schema.md
-- explains every column.

ALTER TABLE mirepoix_task ADD COLUMN waited_s double;
ALTER TABLE mirepoix_attempt ADD COLUMN name text, ADD COLUMN queue text, ADD COLUMN waited_s double;

CREATE TABLE IF NOT EXISTS mirepoix_total (
    id                varchar(255) NOT NULL PRIMARY KEY,
    kind              varchar(255) NOT NULL,
    name              text NOT NULL,
    queue             text NOT NULL,
    outcome           varchar(255) NOT NULL,
    bucket            int NOT NULL,
    attempts          bigint NOT NULL,
    microseconds      bigint NOT NULL,
    newest_at         datetime(6) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The latest probe of each queue.
CREATE TABLE IF NOT EXISTS mirepoix_probe (
    queue             varchar(255) NOT NULL PRIMARY KEY,
    task_id           varchar(255) NOT NULL,
    asked_at          datetime(6) NOT NULL,
    done_at           datetime(6),
    took_s            double
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
