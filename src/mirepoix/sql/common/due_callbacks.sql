-- Finished tasks with a notification that is not sent yet. A task that is parked for other code is left out for a
-- while.
SELECT k.id, k.task_id, k.callback
  FROM mirepoix_key AS k
  JOIN mirepoix_task AS t ON t.id = k.task_id
 WHERE k.callback_to = :callback_to AND t.state IN ('succeeded', 'failed', 'quarantined', 'cancelled', 'expired')
 ORDER BY k.created_at
 LIMIT :batch
