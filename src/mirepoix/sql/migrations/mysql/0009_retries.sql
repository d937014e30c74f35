-- The number of retries that are due in each time slot, by the destination that shares a budget.
-- docs/reference/schema.md explains every column.

CREATE TABLE IF NOT EXISTS mirepoix_budget (
    destination       varchar(255) NOT NULL,
    slot_ms           bigint NOT NULL,
    taken             integer NOT NULL,
    PRIMARY KEY (destination, slot_ms)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
