-- What the relay last saw of each queue, and how long ago it sent a probe through it.
SELECT name, broker_messages, -({seconds_until looked_at}), -({seconds_until probed_at}) FROM mirepoix_queue
