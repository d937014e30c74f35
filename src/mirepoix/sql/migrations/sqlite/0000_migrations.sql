-- The applied migrations.
CREATE TABLE IF NOT EXISTS mirepoix_migration (
    name        text PRIMARY KEY,
    applied_at  text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
);
