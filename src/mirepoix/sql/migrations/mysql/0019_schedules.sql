-- Schedules, and the decision about each of their fire times. docs/reference/schema.md explains every column.

CREATE TABLE IF NOT EXISTS mirepoix_schedule (
    id                varchar(255) NOT NULL PRIMARY KEY,
    owner             text NOT NULL,
    app               text NOT NULL,
    task              text NOT NULL,
    definition        longtext NOT NULL,
    revision          int NOT NULL,
    created_at        datetime(6) NOT NULL,
    changed_at        datetime(6) NOT NULL,
    changed_by        text NOT NULL,
    fired_until       datetime(6) NOT NULL,
    next_fire_at      datetime(6),
    next_due_at       datetime(6),
    failures          int NOT NULL DEFAULT 0,
    paused_at         datetime(6),
    paused_by         text,
    paused_reason     text,
    removed_at        datetime(6)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The key lets one transaction decide about each fire time of a schedule.
CREATE TABLE IF NOT EXISTS mirepoix_fire (
    schedule_id       varchar(255) NOT NULL,
    fire_at           datetime(6) NOT NULL,
    due_at            datetime(6) NOT NULL,
    state             varchar(32) NOT NULL,
    reason            text,
    cause             text NOT NULL,
    revision          int NOT NULL,
    task_id           varchar(255),
    decided_at        datetime(6) NOT NULL,
    ended_at          datetime(6),
    PRIMARY KEY (schedule_id, fire_at),
    KEY mirepoix_fire_open (state)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
