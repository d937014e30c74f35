-- transition: new -> pending
-- One JSON array carries one call or ten thousand. A known task id is left alone (see rearm.sql).
WITH added AS (
    INSERT INTO mirepoix_task ({envelope columns})
    SELECT {envelope values}
      FROM {envelope rows}
        ON CONFLICT (id) DO NOTHING
    RETURNING id, sent_fence
), woken AS (
    -- One notification a transaction, because the server merges equal ones. None for a task that its sender publishes
    -- to the broker (-2), because commits of transactions that notify wait for each other.
    SELECT pg_notify('mirepoix', '') FROM added WHERE sent_fence IS DISTINCT FROM -2 LIMIT 1
)
SELECT id FROM added LEFT JOIN woken ON true
