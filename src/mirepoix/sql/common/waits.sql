-- The longest time that a task which workers hold now had waited in the broker, by queue.
SELECT queue, max({seconds_until leased_at} - {seconds_until sent_at}) AS waited_s
  FROM mirepoix_task
 WHERE state IN ('leased', 'running') AND sent_at IS NOT NULL AND leased_at > sent_at
 GROUP BY queue
