-- Pause something, unless it is paused already.
INSERT INTO mirepoix_hold (kind, value, paused_by, note)
VALUES (:kind, :value, :paused_by, :note)
    ON CONFLICT (kind, value) DO NOTHING
