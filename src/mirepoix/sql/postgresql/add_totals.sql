-- The attempts of tasks that this transaction prunes. They are added in the order of the ids, so that two transactions
-- wait for each other and do not deadlock.
INSERT INTO mirepoix_total AS kept (id, kind, name, queue, outcome, bucket, attempts, microseconds, newest_at)
SELECT r.id, r.kind, r.name, r.queue, r.outcome, r.bucket, r.attempts, r.microseconds, r.newest_at
  FROM json_to_recordset(CAST(:rows AS json)) AS r(
       id text, kind text, name text, queue text, outcome text, bucket int, attempts bigint, microseconds bigint,
       newest_at timestamptz)
 ORDER BY r.id
    ON CONFLICT (id) DO UPDATE
       SET attempts = kept.attempts + excluded.attempts, microseconds = kept.microseconds + excluded.microseconds,
           newest_at = greatest(kept.newest_at, excluded.newest_at)
