-- Failure groups with their counts and decisions, and replays with everything that is needed to undo them.
-- docs/reference/schema.md explains every column.

ALTER TABLE mirepoix_task ADD COLUMN failure_group varchar(255), ADD KEY mirepoix_task_failure (failure_group);
ALTER TABLE mirepoix_attempt ADD COLUMN failure_group varchar(255);

CREATE TABLE IF NOT EXISTS mirepoix_failure_group (
    id                varchar(255) NOT NULL PRIMARY KEY,
    title             text NOT NULL,
    name              text NOT NULL,
    state             enum('open', 'resolved', 'ignored') NOT NULL DEFAULT 'open',
    failures          bigint NOT NULL,
    first_seen_at     datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    last_seen_at      datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    first_release     varchar(255),
    last_release      varchar(255),
    last_task_id      varchar(255),
    hour_at           datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    hour_failures     int NOT NULL,
    decided_at        datetime(6),
    decided_by        text,
    note              longtext,
    resolved_in       varchar(255),
    ignored_until     datetime(6),
    ignored_to        bigint,
    ignored_per_hour  int,
    regressed_at      datetime(6),
    regressed_in      varchar(255),
    regressions       int NOT NULL DEFAULT 0
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS mirepoix_replay (
    id                varchar(255) NOT NULL PRIMARY KEY,
    failure_group     varchar(255) NOT NULL,
    began_at          datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    began_by          text NOT NULL,
    reason            longtext NOT NULL,
    tasks             int NOT NULL,
    canaries          int NOT NULL,
    rate_per_s        double NOT NULL,
    ended_at          datetime(6),
    outcome           text,
    KEY mirepoix_replay_group (failure_group)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A task's state before it was replayed.
CREATE TABLE IF NOT EXISTS mirepoix_replayed (
    replay_id         varchar(255) NOT NULL,
    task_id           varchar(255) NOT NULL,
    replayed_at       datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    undone_at         datetime(6),
    fence             int NOT NULL,
    generation        int NOT NULL,
    state             varchar(255) NOT NULL,
    reason            longtext,
    finished_at       datetime(6),
    expires_at        datetime(6),
    retries           int NOT NULL,
    deaths            int NOT NULL,
    handovers         int NOT NULL,
    result_status     varchar(255),
    result            longtext,
    content_type      varchar(255),
    traceback         longtext,
    meta              longtext,
    stored_at         datetime(6),
    result_expires_at datetime(6),
    PRIMARY KEY (replay_id, task_id),
    KEY mirepoix_replayed_task (task_id),
    CONSTRAINT mirepoix_replayed_replay FOREIGN KEY (replay_id) REFERENCES mirepoix_replay (id) ON DELETE CASCADE,
    CONSTRAINT mirepoix_replayed_task FOREIGN KEY (task_id) REFERENCES mirepoix_task (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
