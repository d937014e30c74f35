-- transition: pending -> leased
-- Like take, and only tasks that a worker had before: with a broker they would wait at the end of its queue.
WITH ranked AS (
    SELECT ready.seq, wanted.key AS nth, ready.is_suspect,
           row_number() OVER (PARTITION BY ready.is_suspect ORDER BY ready.priority DESC, ready.seq) AS place,
           row_number() OVER (PARTITION BY ready.queue ORDER BY ready.priority DESC, ready.seq) AS turn
      FROM json_each(:queues) AS wanted
     CROSS JOIN mirepoix_task AS ready
     WHERE ready.seq IN (SELECT seq
                           FROM mirepoix_task INDEXED BY mirepoix_task_returned
                          WHERE queue = wanted.value AND state = 'pending' AND due_at IS NULL AND fence > 0 AND limit_key IS NULL
                            AND (expires_at IS NULL OR expires_at > strftime('%Y-%m-%d %H:%M:%f', 'now'))
                            AND (is_suspect = 0 OR :suspects = 1)
                          ORDER BY priority DESC, seq
                          LIMIT :batch)
)
UPDATE mirepoix_task
   SET {lease mirepoix_task}
 WHERE seq IN (SELECT seq FROM ranked WHERE is_suspect = 0 OR place = 1 ORDER BY turn, nth LIMIT :batch)
   AND state = 'pending'
   AND EXISTS (SELECT 1 FROM mirepoix_worker AS w WHERE w.id = :worker_id AND w.state = 'alive')
RETURNING id, fence, seq, is_suspect, deaths + handovers > 0 AS is_redelivered, waited_s,
       {envelope message}
