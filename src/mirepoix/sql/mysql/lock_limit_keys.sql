-- Lock the rows of these keys that nobody has locked. Who has locked a key counts its tasks in a statement of its own,
-- which sees what the worker before has committed.
SELECT k.id, k.starts
  FROM JSON_TABLE({json :keys}, '$[*]' COLUMNS (id {id} PATH '$')) AS r
  STRAIGHT_JOIN mirepoix_limit_key AS k FORCE INDEX (PRIMARY) ON k.id = r.id
   FOR UPDATE {of k} SKIP LOCKED
