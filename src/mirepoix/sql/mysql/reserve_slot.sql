-- One place in a slot; no row is changed if others took the last one meanwhile: MySQL counts no row that keeps its values.
INSERT INTO mirepoix_budget (destination, slot_ms, taken)
VALUES (:destination, :slot_ms, 1)
    ON DUPLICATE KEY UPDATE taken = taken + CASE WHEN taken < :most THEN 1 ELSE 0 END
