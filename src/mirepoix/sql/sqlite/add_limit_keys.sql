-- Make the rows of keys that a worker has met for the first time.
INSERT INTO mirepoix_limit_key (id, kept_until)
SELECT value, {later :kept_s}
  FROM json_each(:keys)
 WHERE true
    ON CONFLICT (id) DO NOTHING
