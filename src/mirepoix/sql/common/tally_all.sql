-- Every attempt that ended and is in the ledger, by task, queue, outcome and buckets, and apart whether it
-- ended before :until_at. A success is on the task's row. Reads both tables.
SELECT name, queue, outcome, {bucket run_time_s} AS run_bucket, {bucket waited_s} AS wait_bucket,
       CASE WHEN finished_at < :until_at THEN 1 ELSE 0 END AS is_settled,
       count(*) AS attempts, coalesce(sum({microseconds run_time_s}), 0) AS run_us,
       coalesce(sum({microseconds waited_s}), 0) AS wait_us
  FROM (SELECT coalesce(a.name, t.name) AS name, coalesce(a.queue, t.queue) AS queue, a.outcome, a.run_time_s, a.waited_s, a.finished_at
          FROM mirepoix_attempt AS a
          JOIN mirepoix_task AS t ON t.id = a.task_id
         UNION ALL
        SELECT t.name, t.queue, t.state, t.run_time_s, t.waited_s, t.finished_at
          FROM mirepoix_task AS t
         WHERE t.state = 'succeeded' AND t.fence > 0) AS ended
 GROUP BY name, queue, outcome, run_bucket, wait_bucket, is_settled
