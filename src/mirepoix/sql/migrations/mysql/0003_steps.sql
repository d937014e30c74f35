-- The return values of a task's steps. A later attempt gets them instead of repeating the work. Deleted with the task.

CREATE TABLE IF NOT EXISTS mirepoix_step (
    task_id           varchar(255) NOT NULL,
    name              varchar(255) NOT NULL,
    result            longtext NOT NULL,
    fence             int NOT NULL,
    created_at        datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    run_time_s        double,
    PRIMARY KEY (task_id, name),
    CONSTRAINT mirepoix_step_task FOREIGN KEY (task_id) REFERENCES mirepoix_task (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
