-- What an attempt ran and how long its task had waited, and the totals of pruned attempts. docs/reference/schema.md
-- explains every column.

ALTER TABLE mirepoix_task ADD COLUMN waited_s double precision;
ALTER TABLE mirepoix_attempt ADD COLUMN name text, ADD COLUMN queue text, ADD COLUMN waited_s double precision;

CREATE TABLE mirepoix_total (
    id                text PRIMARY KEY,
    kind              text NOT NULL,
    name              text NOT NULL,
    queue             text NOT NULL,
    outcome           text NOT NULL,
    bucket            integer NOT NULL,
    attempts          bigint NOT NULL,
    microseconds      bigint NOT NULL,
    newest_at         timestamptz NOT NULL
);

-- The latest probe of each queue.
CREATE TABLE mirepoix_probe (
    queue             varchar(255) PRIMARY KEY,
    task_id           varchar(255) NOT NULL,
    asked_at          timestamptz NOT NULL,
    done_at           timestamptz,
    took_s            double precision
);
