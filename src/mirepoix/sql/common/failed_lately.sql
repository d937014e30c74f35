-- The attempts that failed or died lately, by task and outcome. They have no index on their end, so they are found by
-- their tasks: the newest that ended or wait for a decision, the next that are due, and those that workers hold, each
-- at most :cap.
SELECT coalesce(a.name, t.name) AS name, a.outcome, count(*) AS attempts
  FROM (SELECT id, name
          FROM (SELECT id, name
                  FROM mirepoix_task {by mirepoix_task_finished}
                 WHERE state IN ('succeeded', 'cancelled', 'expired') AND state = 'succeeded' AND finished_at > {earlier :since_s}
                 ORDER BY finished_at DESC
                 LIMIT :cap) AS succeeded
         UNION ALL
        SELECT id, name
          FROM (SELECT id, name
                  FROM mirepoix_task {by mirepoix_task_finished}
                 WHERE state IN ('failed', 'quarantined', 'parked') AND state = 'failed' AND finished_at > {earlier :since_s}
                 ORDER BY finished_at DESC
                 LIMIT :cap) AS failed
         UNION ALL
        SELECT id, name
          FROM (SELECT id, name
                  FROM mirepoix_task {by mirepoix_task_finished}
                 WHERE state IN ('failed', 'quarantined', 'parked') AND state = 'quarantined' AND finished_at > {earlier :since_s}
                 ORDER BY finished_at DESC
                 LIMIT :cap) AS quarantined
         UNION ALL
        SELECT id, name
          FROM (SELECT id, name, fence
                  FROM mirepoix_task {by mirepoix_task_waiting}
                 WHERE state = 'pending' AND due_at IS NOT NULL
                 ORDER BY due_at
                 LIMIT :cap) AS due
         WHERE fence > 0
         UNION ALL
        SELECT id, name
          FROM (SELECT id, name, fence
                  FROM mirepoix_task {by mirepoix_task_held}
                 WHERE state IN ('leased', 'running')
                 LIMIT :cap) AS held
         WHERE fence > 1) AS t
  JOIN mirepoix_attempt AS a ON a.task_id = t.id
 WHERE a.finished_at > {earlier :since_s} AND a.outcome IN ('failed', 'retried', 'killed', 'lost')
 GROUP BY coalesce(a.name, t.name), a.outcome
