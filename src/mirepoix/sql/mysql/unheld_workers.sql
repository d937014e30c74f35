-- Workers with a liveness lock that nobody holds. The start time of the server is expensive to read, so it is read only
-- if there are any.
SELECT id
  FROM mirepoix_worker
 WHERE state = 'alive' AND id <> :worker_id
   AND IS_FREE_LOCK(CONCAT('mirepoix.', LEFT(SHA2(CONCAT(DATABASE(), '.', liveness_key, '.', id), 256), 40))) = 1
;
SELECT w.id, w.name, w.liveness_key, w.process, {as_text w.heartbeat_at} AS heartbeat,
       {seconds_until w.alive_until} - {seconds_until w.heartbeat_at} AS ttl_s
  FROM {found}
  STRAIGHT_JOIN mirepoix_worker AS w ON w.id = found.id
 WHERE w.state = 'alive'
   AND w.server_started_at = (SELECT UTC_TIMESTAMP(0) - INTERVAL CAST(CAST(variable_value AS UNSIGNED) AS SIGNED) SECOND
                                FROM /*M! information_schema.*//*!80000 performance_schema.*/global_status
                               WHERE variable_name = 'UPTIME')
