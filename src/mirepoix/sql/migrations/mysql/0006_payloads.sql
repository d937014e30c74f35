-- The version and the calls of a payload, the reason why it was parked, and its edits.
-- docs/reference/schema.md explains every column.

-- parked_shape replaces the partial index of the other databases: tasks that other code may be able to take.
ALTER TABLE mirepoix_task
  ADD COLUMN version int NOT NULL DEFAULT 1,
  ADD COLUMN shape varchar(700),
  ADD COLUMN parked_for varchar(255),
  ADD COLUMN parked_shape varchar(700)
      GENERATED ALWAYS AS (CASE WHEN state = 'parked' AND parked_for IS NOT NULL THEN shape END) VIRTUAL INVISIBLE,
  ADD KEY mirepoix_task_unfit (parked_shape);

-- The edits of payloads by people.
CREATE TABLE IF NOT EXISTS mirepoix_edit (
    id                bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    task_id           varchar(255) NOT NULL,
    edited_at         datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    edited_by         text NOT NULL,
    reason            longtext NOT NULL,
    before_edit       longtext NOT NULL,
    after_edit        longtext NOT NULL,
    KEY mirepoix_edit_task (task_id),
    CONSTRAINT mirepoix_edit_task FOREIGN KEY (task_id) REFERENCES mirepoix_task (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
