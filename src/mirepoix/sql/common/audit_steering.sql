-- Who paused, resumed, ran and changed what, the latest first.
SELECT decided_at, verb, kind, value, decided_by, reason
  FROM mirepoix_steering
 ORDER BY id DESC
 LIMIT :most
