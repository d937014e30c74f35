-- The ledger's clock, in seconds since 1970.
SELECT (julianday('now') - 2440587.5) * 86400.0 AS now_s
