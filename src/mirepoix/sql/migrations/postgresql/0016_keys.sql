-- Keys of calls that are sent once: the same key gives the same task. docs/reference/schema.md explains every column.

CREATE TABLE mirepoix_key (
    id                varchar(255) PRIMARY KEY,
    task_id           varchar(255) NOT NULL,
    task_name         text NOT NULL,
    call_hash         text NOT NULL,
    shape             text NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT statement_timestamp(),
    expires_at        timestamptz,
    callback_to       text,
    callback          text
);
CREATE INDEX mirepoix_key_task ON mirepoix_key (task_id);
CREATE INDEX mirepoix_key_expires ON mirepoix_key (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX mirepoix_key_callback ON mirepoix_key (callback_to) WHERE callback_to IS NOT NULL;
