-- Results, saved groups and chords. docs/reference/schema.md explains every column.

CREATE TABLE IF NOT EXISTS mirepoix_result (
    task_id           varchar(255) NOT NULL PRIMARY KEY,
    status            varchar(255) NOT NULL,
    result            longtext,
    content_type      varchar(255) NOT NULL DEFAULT 'application/json',
    traceback         longtext,
    meta              longtext NOT NULL DEFAULT ('{}'),
    stored_at         datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    expires_at        datetime(6),
    KEY mirepoix_result_expiring (expires_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS mirepoix_group (
    group_id          varchar(255) NOT NULL PRIMARY KEY,
    result            longtext NOT NULL,
    saved_at          datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    expires_at        datetime(6),
    KEY mirepoix_group_expiring (expires_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS mirepoix_chord (
    group_id          varchar(255) NOT NULL PRIMARY KEY,
    size              int NOT NULL,
    done              int NOT NULL DEFAULT 0,
    state             enum('waiting', 'fired', 'failed') NOT NULL DEFAULT 'waiting',
    created_at        datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    ended_at          datetime(6),
    KEY mirepoix_chord_ended (ended_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS mirepoix_chord_part (
    group_id          varchar(255) NOT NULL,
    task_id           varchar(255) NOT NULL,
    position          int,
    status            varchar(255) NOT NULL,
    result            longtext,
    PRIMARY KEY (group_id, task_id),
    CONSTRAINT mirepoix_chord_part_chord FOREIGN KEY (group_id) REFERENCES mirepoix_chord (group_id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
