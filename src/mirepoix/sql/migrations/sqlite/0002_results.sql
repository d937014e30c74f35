-- Results, saved groups and chords. docs/reference/schema.md explains every column.

CREATE TABLE mirepoix_result (
    task_id           text NOT NULL PRIMARY KEY,
    status            text NOT NULL,
    result            text,
    content_type      text NOT NULL DEFAULT 'application/json',
    traceback         text,
    meta              text NOT NULL DEFAULT '{}',
    stored_at         text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    expires_at        text
);
CREATE INDEX mirepoix_result_expiring ON mirepoix_result (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE mirepoix_group (
    group_id          text NOT NULL PRIMARY KEY,
    result            text NOT NULL,
    saved_at          text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    expires_at        text
);
CREATE INDEX mirepoix_group_expiring ON mirepoix_group (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE mirepoix_chord (
    group_id          text NOT NULL PRIMARY KEY,
    size              integer NOT NULL,
    done              integer NOT NULL DEFAULT 0,
    state             text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'fired', 'failed')),
    created_at        text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    ended_at          text
);
CREATE INDEX mirepoix_chord_ended ON mirepoix_chord (ended_at) WHERE state <> 'waiting';

CREATE TABLE mirepoix_chord_part (
    group_id          text NOT NULL REFERENCES mirepoix_chord (group_id) ON DELETE CASCADE,
    task_id           text NOT NULL,
    position          integer,
    status            text NOT NULL,
    result            text,
    PRIMARY KEY (group_id, task_id)
);
