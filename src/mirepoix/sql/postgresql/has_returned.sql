-- Whether a queue has tasks that are ready again after a worker had them. Suspects count only with :suspects. With the
-- inner LIMIT the planner looks for one task of each queue, and does not read all of them.
-- Without the order PostgreSQL might read the table, and not the index, until it has found so many.
SELECT wanted.queue
  FROM json_array_elements_text(CAST(:queues AS json)) AS wanted(queue)
 CROSS JOIN LATERAL (
       SELECT id
         FROM mirepoix_task
        WHERE queue = wanted.queue AND state = 'pending' AND due_at IS NULL AND fence > 0 AND limit_key IS NULL
          AND (expires_at IS NULL OR expires_at > {now}) AND (is_suspect = 0 OR :suspects = 1)
        ORDER BY priority DESC, seq
        LIMIT 1) AS ready
 LIMIT 1
