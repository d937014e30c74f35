-- When tasks of these keys were taken.
SELECT k.id, k.starts
  FROM JSON_TABLE({json :keys}, '$[*]' COLUMNS (id {id} PATH '$')) AS r
  STRAIGHT_JOIN mirepoix_limit_key AS k FORCE INDEX (PRIMARY) ON k.id = r.id
