-- Make the rows of keys that a worker has met for the first time.
INSERT INTO mirepoix_limit_key (id, kept_until)
SELECT w.id, {later :kept_s}
  FROM json_array_elements_text(CAST(:keys AS json)) AS w(id)
 ORDER BY w.id
    ON CONFLICT (id) DO NOTHING
