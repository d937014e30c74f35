-- These tasks were written while there was no broker. From now on the relay publishes them. MySQL allows no LIMIT in a
-- subquery here.
UPDATE mirepoix_task
   SET sent_fence = -1
 WHERE state = 'pending' AND due_at IS NULL AND limit_key IS NULL AND sent_fence IS NULL
 LIMIT :batch
