-- The other workers that are believed to be alive, with their latest heartbeats and how long a heartbeat counts.
SELECT id, name, liveness_key, process, {as_text heartbeat_at} AS heartbeat,
       {seconds_until alive_until} - {seconds_until heartbeat_at} AS ttl_s
  FROM mirepoix_worker
 WHERE state = 'alive' AND id <> :worker_id
