-- The process that publishes: a dedicated relay before the workers' relays, and the oldest first. Two leaders for a
-- moment do no harm.
SELECT id AS worker_id, name, reason AS trouble
  FROM mirepoix_worker
 WHERE state = 'alive' AND relays > 0
 ORDER BY relays DESC, liveness_key
 LIMIT 1
