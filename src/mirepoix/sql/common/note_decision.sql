-- A decision about a task: who decided what, and why.
INSERT INTO mirepoix_decision (task_id, verb, decided_by, reason)
VALUES (:task_id, :verb, :decided_by, :reason)
