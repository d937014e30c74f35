-- Renews every lease this worker holds, in one row.
UPDATE mirepoix_worker
   SET heartbeat_at = {now}, alive_until = {later :ttl_s}
 WHERE id = :worker_id AND state = 'alive'
RETURNING id
