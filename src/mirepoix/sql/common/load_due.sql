-- What waits for its time in each queue: later, or come due and not yet released by a worker.
SELECT queue, sum(CASE WHEN due_at > {now} THEN 1 ELSE 0 END) AS scheduled,
       sum(CASE WHEN due_at > {now} THEN 0 ELSE 1 END) AS came_due,
       -({seconds_until min(due_at)}) AS oldest_s, sum(CASE WHEN due_at < {earlier :late_s} THEN 1 ELSE 0 END) AS late
  FROM mirepoix_task
 WHERE state = 'pending' AND due_at IS NOT NULL
 GROUP BY queue
