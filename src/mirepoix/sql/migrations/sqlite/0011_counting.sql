-- Failures that are recorded and not counted in their group yet. A failing task appends a row and waits for nobody.
-- docs/reference/schema.md explains every column.

CREATE TABLE mirepoix_failure (
    id                integer PRIMARY KEY AUTOINCREMENT,
    failure_group     text NOT NULL,
    title             text NOT NULL,
    name              text NOT NULL,
    failures          integer NOT NULL,
    in_release        text,
    task_id           text NOT NULL,
    failed_at         text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
);
