-- Which queues a worker takes from now: remote control adds and cancels some.
UPDATE mirepoix_worker
   SET queues = :queues
 WHERE id = :worker_id AND state = 'alive'
