-- Who paused or resumed what, and why.
INSERT INTO mirepoix_steering (verb, kind, value, decided_by, reason)
VALUES (:verb, :kind, :value, :decided_by, :reason)
