-- The attempts of tasks that this transaction prunes. They are added in the order of the ids, so that two transactions
-- wait for each other and do not deadlock.
INSERT INTO mirepoix_total AS kept (id, kind, name, queue, outcome, bucket, attempts, microseconds, newest_at)
SELECT json_extract(value, '$.id'), json_extract(value, '$.kind'), json_extract(value, '$.name'),
       json_extract(value, '$.queue'), json_extract(value, '$.outcome'), json_extract(value, '$.bucket'),
       json_extract(value, '$.attempts'), json_extract(value, '$.microseconds'), json_extract(value, '$.newest_at')
  FROM json_each(:rows)
 WHERE true
 ORDER BY 1
    ON CONFLICT (id) DO UPDATE
       SET attempts = kept.attempts + excluded.attempts, microseconds = kept.microseconds + excluded.microseconds,
           newest_at = max(kept.newest_at, excluded.newest_at)
