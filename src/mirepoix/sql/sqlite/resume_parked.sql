-- transition: parked -> leased
-- This code can take tasks that other code could not. A worker that was declared dead takes nothing.
UPDATE mirepoix_task
   SET state = 'leased', waited_s = NULL, parked_for = NULL, fence = fence + 1, worker_id = :worker_id, pid = NULL,
       leased_at = strftime('%Y-%m-%d %H:%M:%f', 'now'),
       started_at = NULL, finished_at = NULL, run_time_s = NULL, peak_memory_kb = NULL
 WHERE id IN (SELECT value FROM json_each(:ids))
   AND state = 'parked' AND parked_for IS NOT NULL
   AND EXISTS (SELECT 1 FROM mirepoix_worker AS w WHERE w.id = :worker_id AND w.state = 'alive')
RETURNING id, fence, seq, is_suspect, deaths + handovers > 0 AS is_redelivered, waited_s,
       {envelope message}
