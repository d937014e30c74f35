-- A slot in which nobody has a place yet; nothing if it is there. Not INSERT IGNORE: what that finds it locks shared, and two
-- who then both want to write it would wait for each other.
INSERT INTO mirepoix_budget (destination, slot_ms, taken) VALUES (:destination, :slot_ms, 0)
    ON DUPLICATE KEY UPDATE taken = taken
