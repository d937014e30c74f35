-- Reserve a place in a slot. No row changes if others took the last place meanwhile.
UPDATE mirepoix_budget SET taken = taken + 1 WHERE destination = :destination AND slot_ms = :slot_ms AND taken < :most
