-- Results, saved groups and chords. docs/reference/schema.md explains every column.

CREATE TABLE mirepoix_result (
    task_id           varchar(255) PRIMARY KEY,
    status            text NOT NULL,
    result            text,
    content_type      text NOT NULL DEFAULT 'application/json',
    traceback         text,
    meta              text NOT NULL DEFAULT '{}',
    stored_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at        timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX mirepoix_result_expiring ON mirepoix_result (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE mirepoix_group (
    group_id          varchar(255) PRIMARY KEY,
    result            text NOT NULL,
    saved_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at        timestamptz
);
CREATE INDEX mirepoix_group_expiring ON mirepoix_group (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE mirepoix_chord (
    group_id          varchar(255) PRIMARY KEY,
    size              integer NOT NULL,
    done              integer NOT NULL DEFAULT 0,
    state             text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'fired', 'failed')),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at          timestamptz
);
CREATE INDEX mirepoix_chord_ended ON mirepoix_chord (ended_at) WHERE state <> 'waiting';

CREATE TABLE mirepoix_chord_part (
    group_id          varchar(255) NOT NULL REFERENCES mirepoix_chord (group_id) ON DELETE CASCADE,
    task_id           varchar(255) NOT NULL,
    position          integer,
    status            text NOT NULL,
    result            text,
    PRIMARY KEY (group_id, task_id)
);
