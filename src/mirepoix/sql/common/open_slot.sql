-- Create an empty slot, unless it exists.
INSERT INTO mirepoix_budget (destination, slot_ms, taken) VALUES (:destination, :slot_ms, 0)
    ON CONFLICT (destination, slot_ms) DO NOTHING
