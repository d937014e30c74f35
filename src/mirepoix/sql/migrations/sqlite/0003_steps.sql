-- The return values of a task's steps. A later attempt gets them instead of repeating the work. Deleted with the task.

CREATE TABLE mirepoix_step (
    task_id           text NOT NULL REFERENCES mirepoix_task (id) ON DELETE CASCADE,
    name              text NOT NULL,
    result            text NOT NULL,
    fence             integer NOT NULL,
    created_at        text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    run_time_s        real,
    PRIMARY KEY (task_id, name)
);
