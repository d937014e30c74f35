-- The relay's last view of each queue, and how long ago it sent a probe through it.
SELECT name AS queue, broker_messages, -({seconds_until looked_at}) AS looked_s, -({seconds_until probed_at}) AS probed_s
  FROM mirepoix_queue
