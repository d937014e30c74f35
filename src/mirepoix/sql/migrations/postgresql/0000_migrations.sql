-- The applied migrations.
CREATE TABLE IF NOT EXISTS mirepoix_migration (
    name        varchar(255) PRIMARY KEY,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
