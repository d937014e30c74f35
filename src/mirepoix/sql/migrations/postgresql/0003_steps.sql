-- The return values of a task's steps. A later attempt gets them instead of repeating the work. Deleted with the task.

CREATE TABLE mirepoix_step (
    task_id           varchar(255) NOT NULL REFERENCES mirepoix_task (id) ON DELETE CASCADE,
    name              varchar(255) NOT NULL,
    result            text NOT NULL,
    fence             integer NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_time_s        double precision,
    PRIMARY KEY (task_id, name)
);
