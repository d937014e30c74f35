-- The applied migrations.
CREATE TABLE IF NOT EXISTS mirepoix_migration (
    name        varchar(255) PRIMARY KEY,
    applied_at  datetime(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
