-- What an attempt ran and how long its task had waited, and the totals of pruned attempts. docs/reference/schema.md
-- explains every column.

ALTER TABLE mirepoix_task ADD COLUMN waited_s real;
ALTER TABLE mirepoix_attempt ADD COLUMN name text;
ALTER TABLE mirepoix_attempt ADD COLUMN queue text;
ALTER TABLE mirepoix_attempt ADD COLUMN waited_s real;

CREATE TABLE mirepoix_total (
    id                text NOT NULL PRIMARY KEY,
    kind              text NOT NULL,
    name              text NOT NULL,
    queue             text NOT NULL,
    outcome           text NOT NULL,
    bucket            integer NOT NULL,
    attempts          integer NOT NULL,
    microseconds      integer NOT NULL,
    newest_at         text NOT NULL
);

-- The latest probe of each queue.
CREATE TABLE mirepoix_probe (
    queue             text NOT NULL PRIMARY KEY,
    task_id           text NOT NULL,
    asked_at          text NOT NULL,
    done_at           text,
    took_s            real
);
