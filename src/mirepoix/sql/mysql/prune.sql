-- Deletes finished tasks, oldest first; their attempts go with them. What needs attention is never pruned.
-- Who is at one of them just now (it is sent again, or pruned by somebody else) is not waited for.
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
;
DELETE t
  FROM {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
 WHERE t.state IN ('succeeded', 'cancelled', 'expired')
