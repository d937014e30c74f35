-- Delete old replays if none of their tasks exists any more.
DELETE FROM mirepoix_replay
 WHERE ended_at < {earlier :older_than_s}
   AND NOT EXISTS (SELECT 1 FROM mirepoix_replayed AS r WHERE r.replay_id = mirepoix_replay.id)
