-- What is ready in each queue: how much the broker was told of, for how long, and how much it is still to be told of.
SELECT queue, sum(CASE WHEN sent_fence = fence THEN 1 ELSE 0 END) AS sent,
       sum(CASE WHEN sent_fence = fence AND sent_at < {earlier :settled_s} THEN 1 ELSE 0 END) AS settled,
       -({seconds_until min(CASE WHEN sent_fence = fence THEN sent_at END)}) AS oldest_sent_s,
       sum(CASE WHEN sent_fence <> fence THEN 1 ELSE 0 END) AS unsent, count(*) AS ready
  FROM mirepoix_task
 WHERE state = 'pending' AND due_at IS NULL
 GROUP BY queue
