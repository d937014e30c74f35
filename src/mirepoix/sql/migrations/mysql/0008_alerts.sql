-- Alerts, and the notification of each alert through each channel.
-- docs/reference/schema.md explains every column.

CREATE TABLE IF NOT EXISTS mirepoix_alert (
    id                varchar(255) NOT NULL PRIMARY KEY,
    kind              text NOT NULL,
    subject           text NOT NULL,
    title             text NOT NULL,
    name              text,
    task_id           varchar(255),
    queue             text,
    in_release        text,
    occasion          int NOT NULL DEFAULT 1,
    opened_at         datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    closed_at         datetime(6),
    KEY mirepoix_alert_open (closed_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS mirepoix_alert_telling (
    alert_id          varchar(255) NOT NULL,
    occasion          int NOT NULL,
    channel           varchar(255) NOT NULL,
    due_at            datetime(6) NOT NULL,
    tries             int NOT NULL DEFAULT 0,
    told_at           datetime(6),
    is_summed         int NOT NULL DEFAULT 0,
    trouble           text,
    PRIMARY KEY (alert_id, occasion, channel),
    KEY mirepoix_alert_told (channel, told_at),
    CONSTRAINT mirepoix_alert_telling_alert FOREIGN KEY (alert_id) REFERENCES mirepoix_alert (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
