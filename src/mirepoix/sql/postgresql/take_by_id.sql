-- transition: pending -> leased
-- The broker notified a worker of these. The statement locks them in the order of their ids, so that two workers with
-- the same tasks do not deadlock. LATERAL with OFFSET 0 finds and locks each row by its id. Without it the planner, which
-- does not know how few there are, would scan all waiting tasks. Only take_limited takes a task with a limit. A worker
-- that was declared dead takes nothing.
WITH chosen AS (
    SELECT t.id
      FROM json_array_elements_text(CAST(:ids AS json)) AS w(id)
     CROSS JOIN LATERAL (SELECT id, state, due_at, expires_at, is_suspect, limit_key FROM mirepoix_task WHERE id = w.id OFFSET 0 FOR UPDATE) AS t
     WHERE t.state = 'pending' AND t.due_at IS NULL AND t.limit_key IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
       AND (t.is_suspect = 0 OR :suspects = 1)
)
UPDATE mirepoix_task AS t
   SET {lease t}
  FROM chosen
 WHERE t.id = chosen.id
   AND EXISTS (SELECT 1 FROM mirepoix_worker AS w WHERE w.id = :worker_id AND w.state = 'alive')
RETURNING t.id, t.fence, t.seq, t.is_suspect, t.deaths + t.handovers > 0 AS is_redelivered, t.waited_s,
       {envelope message t}
