-- Who paused, resumed, ran or changed what, and why.
INSERT INTO mirepoix_steering (verb, kind, value, decided_by, reason)
VALUES (:verb, :kind, :value, :decided_by, :reason)
