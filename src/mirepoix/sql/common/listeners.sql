-- The workers that take tasks from the broker, their queues, and how long ago each last received something.
SELECT id, name, {as_text queues}, concurrency, -({seconds_until heard_at}), -({seconds_until started_at})
  FROM mirepoix_worker
 WHERE state = 'alive' AND heard_at IS NOT NULL
