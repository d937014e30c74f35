-- Tasks that have come to an end which somebody is still to be told of. What is parked for other code, and not for long, waits.
SELECT k.id, k.task_id, k.callback
  FROM mirepoix_key AS k
  JOIN mirepoix_task AS t ON t.id = k.task_id
 WHERE k.callback_to = :callback_to AND t.state IN ('succeeded', 'failed', 'quarantined', 'cancelled', 'expired')
 ORDER BY k.created_at
 LIMIT :batch
