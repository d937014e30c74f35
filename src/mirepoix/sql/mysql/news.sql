-- What is first in each queue that a worker takes from. It is asked for a hundred times a second: one short look each.
-- for each :queue in :queues
SELECT seq
  FROM mirepoix_task FORCE INDEX (mirepoix_task_waiting)
 WHERE queue = :queue AND state = 'pending' AND due_at IS NULL AND (expires_at IS NULL OR expires_at > {now})
 ORDER BY priority DESC, seq
 LIMIT 1
