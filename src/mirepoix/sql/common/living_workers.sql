-- The names of the workers and relays with a recent heartbeat.
SELECT name FROM mirepoix_worker WHERE state = 'alive' AND alive_until >= {now} ORDER BY name
