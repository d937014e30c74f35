-- How many retries come due when, by the destination whose budget they share.
-- Every column is explained in docs/reference/schema.md.

CREATE TABLE mirepoix_budget (
    destination       text NOT NULL,
    slot_ms           bigint NOT NULL,
    taken             integer NOT NULL,
    PRIMARY KEY (destination, slot_ms)
);
