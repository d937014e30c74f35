-- Whether attempts were pruned that ended at that moment or later.
SELECT count(*) AS totals FROM mirepoix_total WHERE newest_at >= :since_at
