-- When a task began to wait again, and the decisions of people about it: who, when and why.
-- docs/reference/schema.md explains every column.

ALTER TABLE mirepoix_task ADD COLUMN requeued_at datetime(6);

CREATE TABLE IF NOT EXISTS mirepoix_decision (
    id                bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    task_id           varchar(255) NOT NULL,
    decided_at        datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    verb              text NOT NULL,
    decided_by        text NOT NULL,
    reason            longtext NOT NULL,
    KEY mirepoix_decision_task (task_id),
    CONSTRAINT mirepoix_decision_task FOREIGN KEY (task_id) REFERENCES mirepoix_task (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
