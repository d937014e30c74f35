-- transition: pending -> leased
-- Like take, and only tasks that a worker had before: with a broker they would wait at the end of its queue. The index
-- mirepoix_task_returned has no other tasks.
WITH candidate AS (
    SELECT ready.id, ready.queue, ready.priority, ready.seq, ready.is_suspect, wanted.nth
      FROM json_array_elements_text(CAST(:queues AS json)) WITH ORDINALITY AS wanted(queue, nth)
     CROSS JOIN LATERAL (
           SELECT id, queue, priority, seq, is_suspect
             FROM mirepoix_task
            WHERE queue = wanted.queue AND state = 'pending' AND due_at IS NULL AND fence > 0 AND limit_key IS NULL
              AND (expires_at IS NULL OR expires_at > now()) AND (is_suspect = 0 OR :suspects = 1)
            ORDER BY priority DESC, seq
            LIMIT :batch
              FOR UPDATE SKIP LOCKED) AS ready
), chosen AS (
    SELECT id
      FROM (SELECT id, nth, is_suspect,
                   row_number() OVER (PARTITION BY is_suspect ORDER BY priority DESC, seq) AS place,
                   row_number() OVER (PARTITION BY queue ORDER BY priority DESC, seq) AS turn
              FROM candidate) AS ranked
     WHERE is_suspect = 0 OR place = 1
     ORDER BY turn, nth
     LIMIT :batch
)
UPDATE mirepoix_task AS t
   SET {lease t}
  FROM chosen
 WHERE t.id = chosen.id
   AND EXISTS (SELECT 1 FROM mirepoix_worker AS w WHERE w.id = :worker_id AND w.state = 'alive')
RETURNING t.id, t.fence, t.seq, t.is_suspect, t.deaths + t.handovers > 0 AS is_redelivered, t.waited_s,
       {envelope message t}
