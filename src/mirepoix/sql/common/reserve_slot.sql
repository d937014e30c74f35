-- One place in a slot; no row is changed if others took the last one meanwhile.
INSERT INTO mirepoix_budget AS b (destination, slot_ms, taken)
SELECT :destination, :slot_ms, 1
 WHERE true
    ON CONFLICT (destination, slot_ms) DO UPDATE SET taken = b.taken + 1
 WHERE b.taken < :most
