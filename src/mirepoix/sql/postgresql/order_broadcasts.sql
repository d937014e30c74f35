-- One at a time: a listener that has read up to a position must never miss a lower position that commits later.
SELECT pg_advisory_xact_lock(1296651878, hashtext(:exchange)) AS ordered
