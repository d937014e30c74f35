-- One chord.
SELECT group_id, size, done, state, created_at, ended_at, -({seconds_until created_at}) AS waits_s
  FROM mirepoix_chord
 WHERE group_id = :group_id
