-- Keys of calls that are sent once: the same key gives the same task. docs/reference/schema.md explains every column.

CREATE TABLE IF NOT EXISTS mirepoix_key (
    id                varchar(255) NOT NULL PRIMARY KEY,
    task_id           varchar(255) NOT NULL,
    task_name         text NOT NULL,
    call_hash         text NOT NULL,
    shape             longtext NOT NULL,
    created_at        datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    expires_at        datetime(6),
    callback_to       varchar(255),
    callback          longtext,
    KEY mirepoix_key_task (task_id),
    KEY mirepoix_key_expires (expires_at),
    KEY mirepoix_key_callback (callback_to)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
