-- Wakes idle workers when this transaction commits; the server folds equal notifications into one.
SELECT pg_notify('mirepoix', '') AS woken
