-- A slot in which nobody has a place yet; nothing if it is there.
INSERT INTO mirepoix_budget (destination, slot_ms, taken) VALUES (:destination, :slot_ms, 0)
    ON CONFLICT (destination, slot_ms) DO NOTHING
