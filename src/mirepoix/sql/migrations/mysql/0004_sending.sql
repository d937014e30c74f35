-- With a broker: which tasks were published. docs/reference/schema.md explains every column.

-- is_unsent replaces the partial index of the other databases: the tasks that the relay has to publish. Without a broker
-- sent_fence is null, and so is is_unsent. It is one statement, so it takes effect completely or not at all.
ALTER TABLE mirepoix_task
  ADD COLUMN sent_fence int,
  ADD COLUMN sent_at datetime(6),
  ADD COLUMN sendings int NOT NULL DEFAULT 0,
  ADD COLUMN is_unsent tinyint
      GENERATED ALWAYS AS (CASE WHEN state = 'pending' AND due_at IS NULL AND sent_fence <> fence THEN 1 END) VIRTUAL INVISIBLE,
  ADD KEY mirepoix_task_unsent (is_unsent, seq);

ALTER TABLE mirepoix_worker
  ADD COLUMN relays smallint NOT NULL DEFAULT 0,
  ADD COLUMN heard_at datetime(6);

-- The relay's knowledge of each queue of the broker.
CREATE TABLE IF NOT EXISTS mirepoix_queue (
    name              varchar(255) NOT NULL PRIMARY KEY,
    broker_messages   bigint,
    looked_at         datetime(6),
    probed_at         datetime(6)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
