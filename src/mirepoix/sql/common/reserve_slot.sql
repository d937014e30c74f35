-- One place in a slot; no row is changed if others took the last one meanwhile.
UPDATE mirepoix_budget SET taken = taken + 1 WHERE destination = :destination AND slot_ms = :slot_ms AND taken < :most
