-- The next lane of ready tasks after :queue and :priority: those of one queue with one priority. Each part reads one
-- entry of the index. The next priority of the same queue comes first.
SELECT queue, priority
  FROM (SELECT queue, priority
          FROM mirepoix_task {by mirepoix_task_waiting}
         WHERE state = 'pending' AND due_at IS NULL AND queue = :queue AND priority < :priority
         ORDER BY priority DESC
         LIMIT 1) AS of_this_queue
 UNION ALL
SELECT queue, priority
  FROM (SELECT queue, priority
          FROM mirepoix_task {by mirepoix_task_waiting}
         WHERE state = 'pending' AND due_at IS NULL AND queue > :queue
         ORDER BY queue, priority DESC
         LIMIT 1) AS of_the_next_queue
