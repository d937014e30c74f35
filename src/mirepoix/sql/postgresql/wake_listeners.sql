-- Wake the processes that wait for remote control or events.
SELECT pg_notify('mirepoix_message', '') AS woken
