-- What decides when a waiting task is taken, and whether the broker has its message.
SELECT queue, priority, seq, state, fence, is_suspect, expires_at, sent_fence, sendings, -({seconds_until sent_at}) AS sent_s,
       CASE WHEN due_at IS NULL THEN 1 ELSE 0 END AS is_ready
  FROM mirepoix_task
 WHERE id = :task_id
