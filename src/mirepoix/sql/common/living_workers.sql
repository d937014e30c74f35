-- The names of the workers, and relays, whose heartbeat is in time.
SELECT name FROM mirepoix_worker WHERE state = 'alive' AND alive_until >= {now} ORDER BY name
