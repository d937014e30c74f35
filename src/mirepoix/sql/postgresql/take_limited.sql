-- transition: pending -> leased
-- Up to so many tasks of each key as its limit has room for, from the queue where the worker met the key. The worker has
-- locked the keys and counted. A worker that was declared dead takes nothing, and at most one task is a suspect. The
-- condition with CASE is that of the index mirepoix_task_limited.
WITH candidate AS (
    SELECT ready.id, ready.priority, ready.seq, ready.is_suspect
      FROM json_to_recordset(CAST(:rows AS json)) AS w(queue text, limit_key text, room integer)
     CROSS JOIN LATERAL (
           SELECT id, priority, seq, is_suspect
             FROM mirepoix_task
            WHERE queue = w.queue AND limit_key = w.limit_key
              AND CASE WHEN state = 'pending' AND due_at IS NULL THEN limit_key END IS NOT NULL
              AND (expires_at IS NULL OR expires_at > now()) AND (is_suspect = 0 OR :suspects = 1)
            ORDER BY priority DESC, seq
            LIMIT w.room
              FOR UPDATE SKIP LOCKED) AS ready
), chosen AS (
    SELECT id
      FROM (SELECT id, is_suspect, row_number() OVER (PARTITION BY is_suspect ORDER BY priority DESC, seq) AS place
              FROM candidate) AS ranked
     WHERE is_suspect = 0 OR place = 1
)
UPDATE mirepoix_task AS t
   SET {lease t}
  FROM chosen
 WHERE t.id = chosen.id
   AND EXISTS (SELECT 1 FROM mirepoix_worker AS w WHERE w.id = :worker_id AND w.state = 'alive')
RETURNING t.id, t.fence, t.seq, t.is_suspect, t.deaths + t.handovers > 0 AS is_redelivered, t.waited_s,
       t.limit_key, {envelope message t}
