-- Schedules, and the decision about each of their fire times. docs/reference/schema.md explains every column.

CREATE TABLE mirepoix_schedule (
    id                varchar(255) NOT NULL PRIMARY KEY,
    owner             text NOT NULL,
    app               text NOT NULL,
    task              text NOT NULL,
    definition        text NOT NULL,
    revision          integer NOT NULL,
    created_at        timestamptz NOT NULL,
    changed_at        timestamptz NOT NULL,
    changed_by        text NOT NULL,
    fired_until       timestamptz NOT NULL,
    next_fire_at      timestamptz,
    next_due_at       timestamptz,
    failures          integer NOT NULL DEFAULT 0,
    paused_at         timestamptz,
    paused_by         text,
    paused_reason     text,
    removed_at        timestamptz
);

-- The key lets one transaction decide about each fire time of a schedule.
CREATE TABLE mirepoix_fire (
    schedule_id       varchar(255) NOT NULL,
    fire_at           timestamptz NOT NULL,
    due_at            timestamptz NOT NULL,
    state             text NOT NULL,
    reason            text,
    cause             text NOT NULL,
    revision          integer NOT NULL,
    task_id           varchar(255),
    decided_at        timestamptz NOT NULL,
    ended_at          timestamptz,
    PRIMARY KEY (schedule_id, fire_at)
);
CREATE INDEX mirepoix_fire_open ON mirepoix_fire (state) WHERE state IN ('sent', 'buffered');
