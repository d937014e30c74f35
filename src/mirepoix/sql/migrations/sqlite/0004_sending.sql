-- With a broker: which tasks were published. docs/reference/schema.md explains every column.

ALTER TABLE mirepoix_task ADD COLUMN sent_fence integer;
ALTER TABLE mirepoix_task ADD COLUMN sent_at text;
ALTER TABLE mirepoix_task ADD COLUMN sendings integer NOT NULL DEFAULT 0;

-- The tasks that the relay has to publish. Without a broker sent_fence is null, and this index stays empty.
CREATE INDEX mirepoix_task_unsent ON mirepoix_task (seq)
 WHERE state = 'pending' AND due_at IS NULL AND sent_fence <> fence;

ALTER TABLE mirepoix_worker ADD COLUMN relays integer NOT NULL DEFAULT 0;
ALTER TABLE mirepoix_worker ADD COLUMN heard_at text;

-- The relay's knowledge of each queue of the broker.
CREATE TABLE mirepoix_queue (
    name              text PRIMARY KEY NOT NULL,
    broker_messages   integer,
    looked_at         text,
    probed_at         text
);
