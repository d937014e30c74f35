-- How many retries come due when, by the destination whose budget they share.
-- Every column is explained in docs/reference/schema.md.

CREATE TABLE IF NOT EXISTS mirepoix_budget (
    destination       varchar(255) NOT NULL,
    slot_ms           bigint NOT NULL,
    taken             integer NOT NULL,
    PRIMARY KEY (destination, slot_ms)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
