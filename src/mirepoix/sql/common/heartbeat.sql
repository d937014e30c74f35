-- Renew every lease of this worker in one row. Return how long ago its maintenance last ran, and whether it is to stop.
UPDATE mirepoix_worker
   SET heartbeat_at = {now}, alive_until = {later :ttl_s}, maintained_at = {earlier :idle_s},
       stopping_at = CASE WHEN :is_stopping = 1 THEN coalesce(stopping_at, {now}) END
 WHERE id = :worker_id AND state = 'alive'
