-- Wakes whoever waits for remote control or events.
SELECT pg_notify('mirepoix_message', '') AS woken
