-- Create an empty slot, unless it exists. INSERT IGNORE would take a shared lock on an existing row, and two
-- transactions that then write it would deadlock.
INSERT INTO mirepoix_budget (destination, slot_ms, taken) VALUES (:destination, :slot_ms, 0)
    ON DUPLICATE KEY UPDATE taken = taken
