-- What is paused, the oldest first.
SELECT kind, value, paused_at, paused_by, note, -({seconds_until paused_at}) AS paused_s
  FROM mirepoix_hold
 ORDER BY paused_at, kind, value
