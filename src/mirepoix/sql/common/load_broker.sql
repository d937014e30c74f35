-- The ready tasks of each queue: how many were published, since when, and how many are not published yet.
SELECT queue, sum(CASE WHEN sent_fence = fence THEN 1 ELSE 0 END) AS sent,
       sum(CASE WHEN sent_fence = fence AND sent_at < {earlier :settled_s} THEN 1 ELSE 0 END) AS settled,
       -({seconds_until min(CASE WHEN sent_fence = fence THEN sent_at END)}) AS oldest_sent_s,
       sum(CASE WHEN sent_fence <> fence THEN 1 ELSE 0 END) AS unsent, count(*) AS ready
  FROM mirepoix_task
 WHERE state = 'pending' AND due_at IS NULL
 GROUP BY queue
