-- Lock the rows of these keys that nobody has locked. Who has locked a key counts its tasks in a statement of its own,
-- which sees what the worker before has committed.
SELECT k.id, k.starts
  FROM json_array_elements_text(CAST(:keys AS json)) AS w(id)
 CROSS JOIN LATERAL (SELECT id, starts FROM mirepoix_limit_key WHERE id = w.id OFFSET 0 FOR UPDATE SKIP LOCKED) AS k
