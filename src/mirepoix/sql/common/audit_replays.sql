-- The replays of failure groups, the latest first.
SELECT p.id, p.failure_group, g.title, p.began_at, p.began_by, p.reason, p.tasks, p.outcome
  FROM mirepoix_replay AS p
  LEFT JOIN mirepoix_failure_group AS g ON g.id = p.failure_group
 ORDER BY p.began_at DESC
 LIMIT :most
