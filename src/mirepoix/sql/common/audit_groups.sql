-- The latest decision about each failure group, the latest first.
SELECT id, title, state, decided_at, decided_by, note
  FROM mirepoix_failure_group
 WHERE decided_at IS NOT NULL
 ORDER BY decided_at DESC
 LIMIT :most
