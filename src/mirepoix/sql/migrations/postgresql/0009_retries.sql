-- The number of retries that are due in each time slot, by the destination that shares a budget.
-- docs/reference/schema.md explains every column.

CREATE TABLE mirepoix_budget (
    destination       varchar(255) NOT NULL,
    slot_ms           bigint NOT NULL,
    taken             integer NOT NULL,
    PRIMARY KEY (destination, slot_ms)
);
