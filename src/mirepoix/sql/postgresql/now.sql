-- The ledger's clock, in seconds since 1970.
SELECT extract(epoch FROM statement_timestamp()) AS now_s
