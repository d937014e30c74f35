-- Renews every lease this worker holds, in one row, and says how long ago its maintenance last came round.
UPDATE mirepoix_worker
   SET heartbeat_at = {now}, alive_until = {later :ttl_s}, maintained_at = {earlier :idle_s}
 WHERE id = :worker_id AND state = 'alive'
