-- What is paused, by whom and since when, and who paused and resumed what. docs/reference/schema.md explains every column.

CREATE TABLE IF NOT EXISTS mirepoix_hold (
    kind              varchar(32) NOT NULL,
    value             varchar(255) NOT NULL,
    paused_at         datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    paused_by         text NOT NULL,
    note              text NOT NULL,
    PRIMARY KEY (kind, value)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS mirepoix_steering (
    id                bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    decided_at        datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    verb              text NOT NULL,
    kind              varchar(32) NOT NULL,
    value             varchar(255) NOT NULL,
    decided_by        text NOT NULL,
    reason            text NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What holds a waiting task. It counts only while due_at is the last day of 9999, which keeps the row out of the index
-- of ready rows.
ALTER TABLE mirepoix_task ADD COLUMN held_by text;
