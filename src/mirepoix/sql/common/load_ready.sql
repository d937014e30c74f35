-- The ready tasks of each queue, how long they have waited, and how many have waited longer than :late_s. A task is
-- ready since it was sent, came due, was given back by its last attempt, was requeued, run by "run now" or sent again,
-- whichever was last. It uses the index mirepoix_task_ready. If the ETA is later than the last lease, that attempt set
-- the ETA. Only for the other tasks the attempt is looked up. A task with a limit may wait long, and is only counted.
SELECT queue, count(*) AS waiting, -({seconds_until min(CASE WHEN limit_key IS NULL THEN ready_at END)}) AS oldest_s,
       sum(CASE WHEN limit_key IS NULL AND ready_at < {earlier :late_s} THEN 1 ELSE 0 END) AS late
  FROM (SELECT queue, limit_key, CASE WHEN returned_at > sent_at THEN returned_at ELSE sent_at END AS ready_at
          FROM (SELECT t.queue, t.limit_key, CASE WHEN t.requeued_at IS NULL
                            THEN CASE WHEN t.eta > t.created_at THEN t.eta ELSE t.created_at END
                            WHEN t.eta > t.requeued_at AND t.eta <= {now} THEN t.eta
                            ELSE t.requeued_at END AS sent_at,
                       CASE WHEN t.fence > 0 AND NOT coalesce(t.eta > t.leased_at, false) THEN (SELECT a.finished_at
                                                     FROM mirepoix_attempt AS a
                                                    WHERE a.task_id = t.id AND a.fence = t.fence) END AS returned_at
                  FROM mirepoix_task AS t
                 WHERE t.state = 'pending' AND t.due_at IS NULL) AS waiting) AS ready
 GROUP BY queue
