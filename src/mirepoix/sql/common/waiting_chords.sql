-- The chords that wait for members, the oldest first.
SELECT group_id, size, done, created_at, -({seconds_until created_at}) AS waits_s
  FROM mirepoix_chord
 WHERE state = 'waiting'
 ORDER BY created_at
 LIMIT :most
