-- Wake idle workers when this transaction commits. The server merges equal notifications.
SELECT pg_notify('mirepoix', '') AS woken
