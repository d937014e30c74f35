-- The ledger's clock, in seconds since 1970.
SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) * 0.000001 AS now_s
