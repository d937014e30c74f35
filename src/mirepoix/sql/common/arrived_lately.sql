-- The tasks that became ready within :since_s and have not succeeded, by queue, and the tasks that ended within :since_s
-- in another way (cancelled and expired ones are not counted). A task is ready from when it was sent or from its ETA,
-- whichever is later. Each part reads one partial index.
SELECT lately.queue, sum(lately.has_arrived) AS arrived, sum(lately.has_ended) AS ended
  FROM (SELECT queue, 1 AS has_arrived, 0 AS has_ended FROM mirepoix_task
         WHERE state = 'pending' AND due_at IS NULL
           AND (created_at > {earlier :since_s} OR eta > {earlier :since_s})
         UNION ALL
        SELECT queue, 1 AS has_arrived, 0 AS has_ended FROM mirepoix_task
         WHERE state = 'pending' AND due_at IS NOT NULL AND due_at <= {now}
           AND (created_at > {earlier :since_s} OR eta > {earlier :since_s})
         UNION ALL
        SELECT queue, 1 AS has_arrived, 0 AS has_ended FROM mirepoix_task
         WHERE state IN ('leased', 'running') AND (created_at > {earlier :since_s} OR eta > {earlier :since_s})
         UNION ALL
        SELECT queue, CASE WHEN created_at > {earlier :since_s} OR eta > {earlier :since_s} THEN 1 ELSE 0 END, 1
          FROM mirepoix_task
         WHERE state IN ('failed', 'quarantined', 'parked') AND finished_at > {earlier :since_s}) AS lately
 GROUP BY lately.queue
