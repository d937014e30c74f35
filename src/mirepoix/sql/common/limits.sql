-- The limits, with what the code says.
SELECT name, running, rate, period_s, is_weighted, source, code, changed_at, changed_by
  FROM mirepoix_limit
 ORDER BY name
