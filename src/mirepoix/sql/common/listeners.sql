-- The workers that take tasks from the broker, their queues, and how long ago each last received something.
SELECT id AS worker_id, name, {as_text queues} AS queues, concurrency, -({seconds_until heard_at}) AS silent_s,
       -({seconds_until started_at}) AS up_s
  FROM mirepoix_worker
 WHERE state = 'alive' AND heard_at IS NOT NULL
