-- Failure groups with their counts and decisions, and replays with everything that is needed to undo them.
-- docs/reference/schema.md explains every column.

ALTER TABLE mirepoix_task ADD COLUMN failure_group text;
ALTER TABLE mirepoix_attempt ADD COLUMN failure_group text;

-- Tasks with a failure group. Tasks that never failed are not in this index.
CREATE INDEX mirepoix_task_failure ON mirepoix_task (failure_group, state) WHERE failure_group IS NOT NULL;

CREATE TABLE mirepoix_failure_group (
    id                text PRIMARY KEY,
    title             text NOT NULL,
    name              text NOT NULL,
    state             text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved', 'ignored')),
    failures          integer NOT NULL,
    first_seen_at     text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    last_seen_at      text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    first_release     text,
    last_release      text,
    last_task_id      text,
    hour_at           text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    hour_failures     integer NOT NULL,
    decided_at        text,
    decided_by        text,
    note              text,
    resolved_in       text,
    ignored_until     text,
    ignored_to        integer,
    ignored_per_hour  integer,
    regressed_at      text,
    regressed_in      text,
    regressions       integer NOT NULL DEFAULT 0
);

CREATE TABLE mirepoix_replay (
    id                text PRIMARY KEY,
    failure_group     text NOT NULL,
    began_at          text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    began_by          text NOT NULL,
    reason            text NOT NULL,
    tasks             integer NOT NULL,
    canaries          integer NOT NULL,
    rate_per_s        real NOT NULL,
    ended_at          text,
    outcome           text
);
CREATE INDEX mirepoix_replay_group ON mirepoix_replay (failure_group);

-- A task's state before it was replayed.
CREATE TABLE mirepoix_replayed (
    replay_id         text NOT NULL REFERENCES mirepoix_replay (id) ON DELETE CASCADE,
    task_id           text NOT NULL REFERENCES mirepoix_task (id) ON DELETE CASCADE,
    replayed_at       text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    undone_at         text,
    fence             integer NOT NULL,
    generation        integer NOT NULL,
    state             text NOT NULL,
    reason            text,
    finished_at       text,
    expires_at        text,
    retries           integer NOT NULL,
    deaths            integer NOT NULL,
    handovers         integer NOT NULL,
    result_status     text,
    result            text,
    content_type      text,
    traceback         text,
    meta              text,
    stored_at         text,
    result_expires_at text,
    PRIMARY KEY (replay_id, task_id)
);
CREATE INDEX mirepoix_replayed_task ON mirepoix_replayed (task_id);
