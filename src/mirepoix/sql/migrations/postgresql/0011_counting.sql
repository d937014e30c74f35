-- Failures that are recorded and not counted in their group yet. A failing task appends a row and waits for nobody.
-- docs/reference/schema.md explains every column.

CREATE TABLE mirepoix_failure (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    failure_group     varchar(255) NOT NULL,
    title             text NOT NULL,
    name              text NOT NULL,
    failures          integer NOT NULL,
    in_release        text,
    task_id           varchar(255) NOT NULL,
    failed_at         timestamptz NOT NULL DEFAULT statement_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
