-- The attempts of tasks that this transaction prunes. They are added in the order of the ids, so that two transactions
-- wait for each other and do not deadlock.
INSERT INTO mirepoix_total (id, kind, name, queue, outcome, bucket, attempts, microseconds, newest_at)
SELECT r.id, r.kind, r.name, r.queue, r.outcome, r.bucket, r.attempts, r.microseconds, r.newest_at
  FROM JSON_TABLE({json :rows}, '$[*]' COLUMNS (
           id {id} PATH '$.id', kind {id} PATH '$.kind', name {text} PATH '$.name', queue {text} PATH '$.queue',
           outcome {id} PATH '$.outcome', bucket int PATH '$.bucket', attempts bigint PATH '$.attempts',
           microseconds bigint PATH '$.microseconds', newest_at datetime(6) PATH '$.newest_at')) AS r
 ORDER BY r.id
    ON DUPLICATE KEY UPDATE
       attempts = mirepoix_total.attempts + VALUES(attempts),
       microseconds = mirepoix_total.microseconds + VALUES(microseconds),
       newest_at = greatest(mirepoix_total.newest_at, VALUES(newest_at))
