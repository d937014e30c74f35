-- When tasks of these keys were taken.
SELECT k.id, k.starts
  FROM json_array_elements_text(CAST(:keys AS json)) AS w(id)
  JOIN mirepoix_limit_key AS k ON k.id = w.id
