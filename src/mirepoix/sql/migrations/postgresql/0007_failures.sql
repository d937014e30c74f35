-- Failure groups with their counts and decisions, and replays with everything that is needed to undo them.
-- docs/reference/schema.md explains every column.

ALTER TABLE mirepoix_task ADD COLUMN failure_group varchar(255);
ALTER TABLE mirepoix_attempt ADD COLUMN failure_group varchar(255);

-- Tasks with a failure group. Tasks that never failed are not in this index.
CREATE INDEX mirepoix_task_failure ON mirepoix_task (failure_group, state) WHERE failure_group IS NOT NULL;

CREATE TABLE mirepoix_failure_group (
    id                varchar(255) PRIMARY KEY,
    title             text NOT NULL,
    name              text NOT NULL,
    state             text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved', 'ignored')),
    failures          bigint NOT NULL,
    first_seen_at     timestamptz NOT NULL DEFAULT statement_timestamp(),
    last_seen_at      timestamptz NOT NULL DEFAULT statement_timestamp(),
    first_release     text,
    last_release      text,
    last_task_id      varchar(255),
    hour_at           timestamptz NOT NULL DEFAULT statement_timestamp(),
    hour_failures     integer NOT NULL,
    decided_at        timestamptz,
    decided_by        text,
    note              text,
    resolved_in       text,
    ignored_until     timestamptz,
    ignored_to        bigint,
    ignored_per_hour  integer,
    regressed_at      timestamptz,
    regressed_in      text,
    regressions       integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE mirepoix_replay (
    id                varchar(255) PRIMARY KEY,
    failure_group     varchar(255) NOT NULL,
    began_at          timestamptz NOT NULL DEFAULT statement_timestamp(),
    began_by          text NOT NULL,
    reason            text NOT NULL,
    tasks             integer NOT NULL,
    canaries          integer NOT NULL,
    rate_per_s        double precision NOT NULL,
    ended_at          timestamptz,
    outcome           text
);
CREATE INDEX mirepoix_replay_group ON mirepoix_replay (failure_group);

-- A task's state before it was replayed.
CREATE TABLE mirepoix_replayed (
    replay_id         varchar(255) NOT NULL REFERENCES mirepoix_replay (id) ON DELETE CASCADE,
    task_id           varchar(255) NOT NULL REFERENCES mirepoix_task (id) ON DELETE CASCADE,
    replayed_at       timestamptz NOT NULL DEFAULT statement_timestamp(),
    undone_at         timestamptz,
    fence             integer NOT NULL,
    generation        integer NOT NULL,
    state             text NOT NULL,
    reason            text,
    finished_at       timestamptz,
    expires_at        timestamptz,
    retries           integer NOT NULL,
    deaths            integer NOT NULL,
    handovers         integer NOT NULL,
    result_status     text,
    result            text,
    content_type      text,
    traceback         text,
    meta              text,
    stored_at         timestamptz,
    result_expires_at timestamptz,
    PRIMARY KEY (replay_id, task_id)
);
CREATE INDEX mirepoix_replayed_task ON mirepoix_replayed (task_id);
