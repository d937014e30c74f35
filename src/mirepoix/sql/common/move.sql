-- A person moved a waiting task to another queue. With a broker the relay publishes it there, and the message in the old
-- queue finds nothing to lease. The task is addressed to the queue itself, whatever exchange it was sent to.
UPDATE mirepoix_task
   SET queue = :queue, exchange = '', routing_key = :queue,
       sent_fence = CASE WHEN sent_fence IS NOT NULL THEN -1 END
 WHERE id = :task_id AND state = 'pending' AND queue <> :queue
RETURNING id
