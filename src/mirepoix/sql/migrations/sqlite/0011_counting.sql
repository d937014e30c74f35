-- Failures that are recorded and not yet counted in their group: whoever fails appends, and waits for nobody.
-- Every column is explained in docs/reference/schema.md.

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
