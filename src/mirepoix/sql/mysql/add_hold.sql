-- Pause something, unless it is paused already. MySQL has no ON CONFLICT.
INSERT IGNORE INTO mirepoix_hold (kind, value, paused_by, note)
VALUES (:kind, :value, :paused_by, :note)
