-- The replays of a group, the latest first, with the numbers of tasks that were run again and taken back.
SELECT p.id, p.began_at, p.began_by, p.reason, p.tasks, p.canaries, p.rate_per_s, p.ended_at, p.outcome,
       (SELECT count(*) FROM mirepoix_replayed AS r WHERE r.replay_id = p.id) AS replayed,
       (SELECT count(*) FROM mirepoix_replayed AS r WHERE r.replay_id = p.id AND r.undone_at IS NOT NULL) AS undone
  FROM mirepoix_replay AS p
 WHERE p.failure_group = :failure_group
 ORDER BY p.began_at DESC
 LIMIT 20
