-- The version and the calls of a payload, the reason why it was parked, and its edits.
-- docs/reference/schema.md explains every column.

ALTER TABLE mirepoix_task ADD COLUMN version integer NOT NULL DEFAULT 1;
ALTER TABLE mirepoix_task ADD COLUMN shape text;
ALTER TABLE mirepoix_task ADD COLUMN parked_for text;

-- Tasks that other code may be able to take.
CREATE INDEX mirepoix_task_unfit ON mirepoix_task (shape)
 WHERE state = 'parked' AND parked_for IS NOT NULL;

-- The edits of payloads by people.
CREATE TABLE mirepoix_edit (
    id                integer PRIMARY KEY AUTOINCREMENT,
    task_id           text NOT NULL REFERENCES mirepoix_task (id) ON DELETE CASCADE,
    edited_at         text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    edited_by         text NOT NULL,
    reason            text NOT NULL,
    before_edit       text NOT NULL,
    after_edit        text NOT NULL
);
CREATE INDEX mirepoix_edit_task ON mirepoix_edit (task_id);
