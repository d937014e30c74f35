-- Failures that are recorded and not counted in their group yet. A failing task appends a row and waits for nobody.
-- docs/reference/schema.md explains every column.

CREATE TABLE IF NOT EXISTS mirepoix_failure (
    id                bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    failure_group     varchar(255) NOT NULL,
    title             text NOT NULL,
    name              text NOT NULL,
    failures          int NOT NULL,
    in_release        varchar(255),
    task_id           varchar(255) NOT NULL,
    failed_at         datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
