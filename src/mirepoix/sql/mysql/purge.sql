-- transition: pending -> cancelled
-- celery purge: the rows stay, so that nothing vanishes silently. Ready and scheduled tasks are found through their
-- indexes.
SELECT id FROM mirepoix_task WHERE state = 'pending' AND due_at IS NULL AND queue = :queue
 UNION ALL
SELECT id FROM mirepoix_task WHERE state = 'pending' AND due_at IS NOT NULL AND queue = :queue
;
SELECT t.id
  FROM {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
 WHERE t.state = 'pending' AND t.queue = :queue
   FOR UPDATE {of t}
;
UPDATE {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
   SET t.reason = 'purged', t.finished_at = {now}, t.state = 'cancelled'
 WHERE t.state = 'pending'
