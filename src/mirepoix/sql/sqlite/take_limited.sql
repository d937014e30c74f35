-- transition: pending -> leased
-- Up to so many tasks of each key as its limit has room for, from the queue where the worker met the key. The worker has
-- counted in this transaction. A worker that was declared dead takes nothing, and at most one task is a suspect. :most is
-- the largest room, because LIMIT takes no column.
WITH ranked AS (
    SELECT ready.seq, ready.is_suspect, w.value AS wanted,
           row_number() OVER (PARTITION BY ready.is_suspect ORDER BY ready.priority DESC, ready.seq) AS place,
           row_number() OVER (PARTITION BY ready.limit_key ORDER BY ready.priority DESC, ready.seq) AS turn
      FROM json_each(:rows) AS w
     CROSS JOIN mirepoix_task AS ready
     WHERE ready.seq IN (SELECT seq
                           FROM mirepoix_task INDEXED BY mirepoix_task_limited
                          WHERE queue = json_extract(w.value, '$.queue')
                            AND limit_key = json_extract(w.value, '$.limit_key') AND limit_key IS NOT NULL
                            AND state = 'pending' AND due_at IS NULL
                            AND (expires_at IS NULL OR expires_at > strftime('%Y-%m-%d %H:%M:%f', 'now'))
                            AND (is_suspect = 0 OR :suspects = 1)
                          ORDER BY priority DESC, seq
                          LIMIT :most)
)
UPDATE mirepoix_task
   SET {lease mirepoix_task}
 WHERE seq IN (SELECT seq FROM ranked
                WHERE turn <= json_extract(wanted, '$.room') AND (is_suspect = 0 OR place = 1))
   AND state = 'pending'
   AND EXISTS (SELECT 1 FROM mirepoix_worker AS w WHERE w.id = :worker_id AND w.state = 'alive')
RETURNING id, fence, seq, is_suspect, deaths + handovers > 0 AS is_redelivered, waited_s,
       limit_key, {envelope message}
