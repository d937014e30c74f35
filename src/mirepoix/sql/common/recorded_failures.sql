-- The attempts that ran and ended without success lately. They have no index on their end, so they are found by their
-- tasks: the newest that ended or wait for a decision, and the next that are due, each at most :cap.
SELECT a.name, a.queue, t.priority, t.seq, a.worker_id, a.pid, a.waited_s,
       -({seconds_until a.leased_at}) AS leased_ago_s, -({seconds_until a.started_at}) AS started_ago_s,
       -({seconds_until a.finished_at}) AS finished_ago_s, a.run_time_s, a.peak_memory_kb
  FROM (SELECT id, priority, seq
          FROM (SELECT id, priority, seq, fence
                  FROM mirepoix_task {by mirepoix_task_finished}
                 WHERE state IN ('succeeded', 'cancelled', 'expired') AND state = 'succeeded' AND finished_at > {earlier :since_s}
                 ORDER BY finished_at DESC
                 LIMIT :cap) AS succeeded
         WHERE fence > 1
         UNION ALL
        SELECT id, priority, seq
          FROM (SELECT id, priority, seq
                  FROM mirepoix_task {by mirepoix_task_finished}
                 WHERE state IN ('failed', 'quarantined', 'parked') AND state = 'failed' AND finished_at > {earlier :since_s}
                 ORDER BY finished_at DESC
                 LIMIT :cap) AS failed
         UNION ALL
        SELECT id, priority, seq
          FROM (SELECT id, priority, seq, fence
                  FROM mirepoix_task {by mirepoix_task_waiting}
                 WHERE state = 'pending' AND due_at IS NOT NULL
                 ORDER BY due_at
                 LIMIT :cap) AS due
         WHERE fence > 0) AS t
  JOIN mirepoix_attempt AS a ON a.task_id = t.id
 WHERE a.finished_at > {earlier :since_s} AND a.outcome <> 'succeeded'
   AND a.run_time_s IS NOT NULL AND a.waited_s IS NOT NULL AND a.name IS NOT NULL AND a.queue IS NOT NULL
