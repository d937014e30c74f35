-- The attempts of these tasks that ended, by task, queue, outcome and buckets. They are being pruned.
SELECT name, queue, outcome, {bucket run_time_s} AS run_bucket, {bucket waited_s} AS wait_bucket,
       count(*) AS attempts, coalesce(sum({microseconds run_time_s}), 0) AS run_us,
       coalesce(sum({microseconds waited_s}), 0) AS wait_us, {as_text max(finished_at)} AS newest_at
  FROM (SELECT coalesce(a.name, t.name) AS name, coalesce(a.queue, t.queue) AS queue, a.outcome, a.run_time_s, a.waited_s, a.finished_at
          FROM json_array_elements_text(CAST(:ids AS json)) AS r(id)
          JOIN mirepoix_task AS t ON t.id = r.id
          JOIN mirepoix_attempt AS a ON a.task_id = r.id
         UNION ALL
        SELECT t.name, t.queue, t.state, t.run_time_s, t.waited_s, t.finished_at
          FROM json_array_elements_text(CAST(:ids AS json)) AS r(id)
          JOIN mirepoix_task AS t ON t.id = r.id
         WHERE t.state = 'succeeded' AND t.fence > 0) AS ended
 GROUP BY name, queue, outcome, run_bucket, wait_bucket
