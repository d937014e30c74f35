-- The ready tasks of each queue, how long they have waited, and how many have waited longer than :late_s. A task is
-- ready since it was sent, came due, was given back by its last attempt, was requeued, run by "run now" or sent again,
-- whichever was last. It uses the index mirepoix_task_ready. If the ETA is later than the last lease, that attempt set
-- the ETA. Only for the other tasks the attempt is looked up. LATERAL makes that one lookup for each row, and never a
-- scan of all attempts. A task with a limit may wait long, and is only counted.
SELECT queue, count(*) AS waiting, -({seconds_until min(CASE WHEN limit_key IS NULL THEN ready_at END)}) AS oldest_s,
       sum(CASE WHEN limit_key IS NULL AND ready_at < {earlier :late_s} THEN 1 ELSE 0 END) AS late
  FROM (SELECT t.queue, t.limit_key, greatest(
                   t.created_at, t.requeued_at, returned.finished_at,
                   CASE WHEN t.requeued_at IS NULL OR t.eta <= {now} THEN t.eta END) AS ready_at
          FROM mirepoix_task AS t
          LEFT JOIN LATERAL (
               SELECT a.finished_at
                 FROM mirepoix_attempt AS a
                WHERE t.fence > 0 AND (t.eta > t.leased_at) IS NOT TRUE AND a.task_id = t.id AND a.fence = t.fence
                LIMIT 1) AS returned ON true
         WHERE t.state = 'pending' AND t.due_at IS NULL) AS ready
 GROUP BY queue
