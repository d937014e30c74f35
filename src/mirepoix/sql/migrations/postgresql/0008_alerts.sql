-- Alerts, and the notification of each alert through each channel.
-- docs/reference/schema.md explains every column.

CREATE TABLE mirepoix_alert (
    id                varchar(255) PRIMARY KEY,
    kind              text NOT NULL,
    subject           text NOT NULL,
    title             text NOT NULL,
    name              text,
    task_id           varchar(255),
    queue             text,
    in_release        text,
    occasion          integer NOT NULL DEFAULT 1,
    opened_at         timestamptz NOT NULL DEFAULT statement_timestamp(),
    closed_at         timestamptz
);
CREATE INDEX mirepoix_alert_open ON mirepoix_alert (opened_at) WHERE closed_at IS NULL;

CREATE TABLE mirepoix_alert_telling (
    alert_id          varchar(255) NOT NULL REFERENCES mirepoix_alert (id) ON DELETE CASCADE,
    occasion          integer NOT NULL,
    channel           varchar(255) NOT NULL,
    due_at            timestamptz NOT NULL,
    tries             integer NOT NULL DEFAULT 0,
    told_at           timestamptz,
    is_summed         integer NOT NULL DEFAULT 0,
    trouble           text,
    PRIMARY KEY (alert_id, occasion, channel)
);
CREATE INDEX mirepoix_alert_told ON mirepoix_alert_telling (channel, told_at);
