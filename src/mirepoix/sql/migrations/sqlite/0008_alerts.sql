-- Alerts, and the notification of each alert through each channel.
-- docs/reference/schema.md explains every column.

CREATE TABLE mirepoix_alert (
    id                text PRIMARY KEY,
    kind              text NOT NULL,
    subject           text NOT NULL,
    title             text NOT NULL,
    name              text,
    task_id           text,
    queue             text,
    in_release        text,
    occasion          integer NOT NULL DEFAULT 1,
    opened_at         text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    closed_at         text
);
CREATE INDEX mirepoix_alert_open ON mirepoix_alert (opened_at) WHERE closed_at IS NULL;

CREATE TABLE mirepoix_alert_telling (
    alert_id          text NOT NULL REFERENCES mirepoix_alert (id) ON DELETE CASCADE,
    occasion          integer NOT NULL,
    channel           text NOT NULL,
    due_at            text NOT NULL,
    tries             integer NOT NULL DEFAULT 0,
    told_at           text,
    is_summed         integer NOT NULL DEFAULT 0,
    trouble           text,
    PRIMARY KEY (alert_id, occasion, channel)
);
CREATE INDEX mirepoix_alert_told ON mirepoix_alert_telling (channel, told_at);
