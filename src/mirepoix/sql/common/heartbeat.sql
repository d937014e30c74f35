-- Renews every lease this worker holds, in one row, and says how long ago its maintenance last came round, and whether it is
-- to stop.
UPDATE mirepoix_worker
   SET heartbeat_at = {now}, alive_until = {later :ttl_s}, maintained_at = {earlier :idle_s},
       stopping_at = CASE WHEN :is_stopping = 1 THEN coalesce(stopping_at, {now}) END
 WHERE id = :worker_id AND state = 'alive'
