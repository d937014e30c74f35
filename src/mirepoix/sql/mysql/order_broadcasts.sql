-- One at a time: a listener that has read up to a position must never miss a lower one that commits later.
-- Locks by name outlive a transaction here. A row that every ledger has and nobody writes serves as well.
SELECT name AS ordered FROM mirepoix_migration WHERE name = '0001_initial' FOR UPDATE
