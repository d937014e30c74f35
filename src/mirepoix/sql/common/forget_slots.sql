-- Delete past slots. Nobody reserves in them.
DELETE FROM mirepoix_budget WHERE slot_ms < :before_ms
