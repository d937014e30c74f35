-- transition: pending -> leased
-- The broker notified a worker of these. A task with a limit is taken by take_limited alone. A worker that was declared dead takes nothing.
UPDATE mirepoix_task
   SET state = 'leased', waited_s = {waited_s mirepoix_task}, fence = fence + 1, worker_id = :worker_id, pid = NULL,
       leased_at = strftime('%Y-%m-%d %H:%M:%f', 'now'),
       started_at = NULL, finished_at = NULL, run_time_s = NULL, peak_memory_kb = NULL
 WHERE id IN (SELECT value FROM json_each(:ids))
   AND state = 'pending' AND due_at IS NULL AND limit_key IS NULL AND (expires_at IS NULL OR expires_at > strftime('%Y-%m-%d %H:%M:%f', 'now'))
   AND (is_suspect = 0 OR :suspects = 1)
   AND EXISTS (SELECT 1 FROM mirepoix_worker AS w WHERE w.id = :worker_id AND w.state = 'alive')
RETURNING id, fence, seq, is_suspect, deaths + handovers > 0 AS is_redelivered, waited_s,
       {envelope message}
