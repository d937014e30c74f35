-- Find and lock finished tasks to delete, oldest first. Tasks that wait for a decision are never pruned. Rows that another
-- transaction has locked (it sends the task again, or prunes it) are skipped.
SELECT id
  FROM ((SELECT id, finished_at FROM mirepoix_task FORCE INDEX (mirepoix_task_finished)
          WHERE state = 'succeeded' AND finished_at < {earlier :older_than_s} ORDER BY finished_at LIMIT :batch)
         UNION ALL
        (SELECT id, finished_at FROM mirepoix_task FORCE INDEX (mirepoix_task_finished)
          WHERE state = 'cancelled' AND finished_at < {earlier :older_than_s} ORDER BY finished_at LIMIT :batch)
         UNION ALL
        (SELECT id, finished_at FROM mirepoix_task FORCE INDEX (mirepoix_task_finished)
          WHERE state = 'expired' AND finished_at < {earlier :older_than_s} ORDER BY finished_at LIMIT :batch)) AS finished
 ORDER BY finished_at
 LIMIT :batch
;
SELECT t.id
  FROM {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
 WHERE t.state IN ('succeeded', 'cancelled', 'expired') AND t.finished_at < {earlier :older_than_s}
   FOR UPDATE {of t} SKIP LOCKED
