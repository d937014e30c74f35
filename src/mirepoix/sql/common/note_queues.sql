-- The queues that a worker takes from now. Remote control adds and cancels queues.
UPDATE mirepoix_worker
   SET queues = :queues
 WHERE id = :worker_id AND state = 'alive'
