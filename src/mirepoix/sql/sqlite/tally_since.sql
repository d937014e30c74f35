-- The attempts that ended since :since_at, by task, queue, outcome and buckets, and apart whether they ended before :until_at.
-- A success is on the task's row. The other attempts have no index on their end. They are found by their tasks: those
-- that ended or began to wait for a decision since then, and those that wait for a worker or are held.
SELECT name, queue, outcome, {bucket run_time_s} AS run_bucket, {bucket waited_s} AS wait_bucket,
       CASE WHEN finished_at < :until_at THEN 1 ELSE 0 END AS is_settled,
       count(*) AS attempts, coalesce(sum({microseconds run_time_s}), 0) AS run_us,
       coalesce(sum({microseconds waited_s}), 0) AS wait_us
  FROM (SELECT name, queue, state AS outcome, run_time_s, waited_s, finished_at
          FROM mirepoix_task
         WHERE state IN ('succeeded', 'cancelled', 'expired') AND state = 'succeeded' AND fence > 0
           AND finished_at >= :since_at
         UNION ALL
        SELECT coalesce(a.name, t.name) AS name, coalesce(a.queue, t.queue) AS queue, a.outcome,
               a.run_time_s, a.waited_s, a.finished_at
          FROM (SELECT id, name, queue FROM mirepoix_task
                  WHERE state IN ('succeeded', 'cancelled', 'expired') AND finished_at >= :since_at
                 UNION ALL
                SELECT id, name, queue FROM mirepoix_task
                  WHERE state IN ('failed', 'quarantined', 'parked') AND finished_at >= :since_at
                 UNION ALL
                SELECT id, name, queue FROM mirepoix_task
                  WHERE state = 'pending' AND due_at IS NULL AND fence > 0
                 UNION ALL
                SELECT id, name, queue FROM mirepoix_task
                  WHERE state = 'pending' AND due_at IS NOT NULL AND fence > 0
                 UNION ALL
                SELECT id, name, queue FROM mirepoix_task
                  WHERE state IN ('leased', 'running')) AS t
          CROSS JOIN mirepoix_attempt AS a ON a.task_id = t.id AND a.finished_at >= :since_at) AS ended
 GROUP BY name, queue, outcome, run_bucket, wait_bucket, is_settled
