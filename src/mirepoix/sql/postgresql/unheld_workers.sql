-- Workers with a liveness lock that nobody holds. The lock is taken for an instant and freed with this transaction.
SELECT id, name, liveness_key, process, {as_text heartbeat_at} AS heartbeat,
       {seconds_until alive_until} - {seconds_until heartbeat_at} AS ttl_s
  FROM mirepoix_worker
 WHERE state = 'alive' AND id <> :worker_id AND server_started_at = pg_postmaster_start_time()
   AND pg_try_advisory_xact_lock(:namespace, liveness_key)
