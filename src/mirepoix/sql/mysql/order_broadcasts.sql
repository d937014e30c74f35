-- One at a time: a listener that has read up to a position must never miss a lower position that commits later. Named
-- locks outlive a transaction here, so this locks a row that every ledger has and nobody writes.
SELECT name AS ordered FROM mirepoix_migration WHERE name = '0001_initial' FOR UPDATE
