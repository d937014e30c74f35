-- transition: pending -> leased
-- The broker notified a worker of these. Only take_limited takes a task with a limit. A worker that was declared dead
-- takes nothing.
UPDATE mirepoix_task
   SET {lease mirepoix_task}
 WHERE id IN (SELECT value FROM json_each(:ids))
   AND state = 'pending' AND due_at IS NULL AND limit_key IS NULL AND (expires_at IS NULL OR expires_at > strftime('%Y-%m-%d %H:%M:%f', 'now'))
   AND (is_suspect = 0 OR :suspects = 1)
   AND EXISTS (SELECT 1 FROM mirepoix_worker AS w WHERE w.id = :worker_id AND w.state = 'alive')
RETURNING id, fence, seq, is_suspect, deaths + handovers > 0 AS is_redelivered, waited_s,
       {envelope message}
