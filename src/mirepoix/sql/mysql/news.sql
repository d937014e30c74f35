-- The first task without a limit in each queue that a worker takes from. Workers ask a hundred times a second, with one short lookup
-- each.
-- for each :queue in :queues
SELECT seq
  FROM mirepoix_task FORCE INDEX (mirepoix_task_open)
 WHERE open_queue = :queue AND (expires_at IS NULL OR expires_at > {now})
 ORDER BY priority DESC, seq
 LIMIT 1
