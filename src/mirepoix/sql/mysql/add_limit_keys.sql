-- Make the rows of keys that a worker has met for the first time. INSERT IGNORE would take a shared lock on an existing
-- row, and two workers that then lock it would deadlock.
INSERT INTO mirepoix_limit_key (id, kept_until)
SELECT r.id, {later :kept_s}
  FROM JSON_TABLE({json :keys}, '$[*]' COLUMNS (id {id} PATH '$')) AS r
 ORDER BY r.id
    ON DUPLICATE KEY UPDATE kept_until = mirepoix_limit_key.kept_until
