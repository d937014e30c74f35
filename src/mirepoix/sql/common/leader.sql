-- The one that publishes: a relay of its own before those in workers, the oldest first. Two of them for a moment do no harm.
SELECT id AS worker_id, name, reason AS trouble
  FROM mirepoix_worker
 WHERE state = 'alive' AND relays > 0
 ORDER BY relays DESC, liveness_key
 LIMIT 1
