-- The scheduled tasks of each queue: due later, or due and not released by a worker yet. Tasks that are held are not.
SELECT queue, sum(CASE WHEN due_at > {now} THEN 1 ELSE 0 END) AS scheduled,
       sum(CASE WHEN due_at > {now} THEN 0 ELSE 1 END) AS came_due,
       -({seconds_until min(due_at)}) AS oldest_s, sum(CASE WHEN due_at < {earlier :late_s} THEN 1 ELSE 0 END) AS late
  FROM mirepoix_task
 WHERE state = 'pending' AND due_at IS NOT NULL AND due_at < {held_until}
 GROUP BY queue
