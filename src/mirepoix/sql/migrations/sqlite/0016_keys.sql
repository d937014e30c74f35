-- Keys of calls that are sent once: the same key gives the same task. docs/reference/schema.md explains every column.

CREATE TABLE mirepoix_key (
    id                text NOT NULL PRIMARY KEY,
    task_id           text NOT NULL,
    task_name         text NOT NULL,
    call_hash         text NOT NULL,
    shape             text NOT NULL,
    created_at        text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    expires_at        text,
    callback_to       text,
    callback          text
);
CREATE INDEX mirepoix_key_task ON mirepoix_key (task_id);
CREATE INDEX mirepoix_key_expires ON mirepoix_key (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX mirepoix_key_callback ON mirepoix_key (callback_to) WHERE callback_to IS NOT NULL;
