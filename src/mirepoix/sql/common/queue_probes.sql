-- The latest probe of each queue.
SELECT queue, took_s, -({seconds_until asked_at}) AS asked_ago_s, CASE WHEN done_at IS NULL THEN 1 ELSE 0 END AS is_pending
  FROM mirepoix_probe
 ORDER BY queue
