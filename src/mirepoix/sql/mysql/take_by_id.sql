-- transition: pending -> leased
-- The broker notified a worker of these. Only take_limited takes a task with a limit. A worker that was declared dead
-- takes nothing.
SELECT t.id, t.fence + 1 AS fence, t.seq, t.is_suspect, t.deaths + t.handovers > 0 AS is_redelivered,
       {waited_s t} AS waited_s, {envelope message t}
  FROM JSON_TABLE({json :ids}, '$[*]' COLUMNS (id {id} PATH '$')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
 WHERE t.state = 'pending' AND t.due_at IS NULL AND t.limit_key IS NULL AND (t.expires_at IS NULL OR t.expires_at > {now})
   AND (t.is_suspect = 0 OR :suspects = 1)
   AND EXISTS (SELECT 1 FROM mirepoix_worker AS w WHERE w.id = :worker_id AND w.state = 'alive')
   FOR UPDATE {of t}
;
UPDATE {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
   SET {lease t}
 WHERE t.state = 'pending'
