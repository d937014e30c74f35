-- Slots that are over: nobody reserves in them any more.
DELETE FROM mirepoix_budget WHERE slot_ms < :before_ms
