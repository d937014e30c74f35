-- Schedules, and the decision about each of their fire times. docs/reference/schema.md explains every column.

CREATE TABLE mirepoix_schedule (
    id                text NOT NULL PRIMARY KEY,
    owner             text NOT NULL,
    app               text NOT NULL,
    task              text NOT NULL,
    definition        text NOT NULL,
    revision          integer NOT NULL,
    created_at        text NOT NULL,
    changed_at        text NOT NULL,
    changed_by        text NOT NULL,
    fired_until       text NOT NULL,
    next_fire_at      text,
    next_due_at       text,
    failures          integer NOT NULL DEFAULT 0,
    paused_at         text,
    paused_by         text,
    paused_reason     text,
    removed_at        text
);

-- The key lets one transaction decide about each fire time of a schedule.
CREATE TABLE mirepoix_fire (
    schedule_id       text NOT NULL,
    fire_at           text NOT NULL,
    due_at            text NOT NULL,
    state             text NOT NULL,
    reason            text,
    cause             text NOT NULL,
    revision          integer NOT NULL,
    task_id           text,
    decided_at        text NOT NULL,
    ended_at          text,
    PRIMARY KEY (schedule_id, fire_at)
);
CREATE INDEX mirepoix_fire_open ON mirepoix_fire (state) WHERE state IN ('sent', 'buffered');
