-- The version and the calls of a payload, the reason why it was parked, and its edits.
-- docs/reference/schema.md explains every column.

ALTER TABLE mirepoix_task ADD COLUMN version integer NOT NULL DEFAULT 1;
ALTER TABLE mirepoix_task ADD COLUMN shape text;
ALTER TABLE mirepoix_task ADD COLUMN parked_for varchar(255);

-- Tasks that other code may be able to take.
CREATE INDEX mirepoix_task_unfit ON mirepoix_task (shape)
 WHERE state = 'parked' AND parked_for IS NOT NULL;

-- The edits of payloads by people.
CREATE TABLE mirepoix_edit (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id           varchar(255) NOT NULL REFERENCES mirepoix_task (id) ON DELETE CASCADE,
    edited_at         timestamptz NOT NULL DEFAULT statement_timestamp(),
    edited_by         text NOT NULL,
    reason            text NOT NULL,
    before_edit       json NOT NULL,
    after_edit        json NOT NULL
);
CREATE INDEX mirepoix_edit_task ON mirepoix_edit (task_id);
