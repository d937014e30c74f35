-- transition: pending -> leased
-- Like take, and only tasks that a worker had before: with a broker they would wait at the end of its queue. The column
-- is_returned replaces the partial index of the other databases.
-- for each :queue in :queues
SELECT id
  FROM mirepoix_task FORCE INDEX (mirepoix_task_returned)
 WHERE is_returned = 1 AND limit_key IS NULL AND queue = :queue AND (expires_at IS NULL OR expires_at > {now})
   AND (is_suspect = 0 OR :suspects = 1)
   AND EXISTS (SELECT 1 FROM mirepoix_worker AS w WHERE w.id = :worker_id AND w.state = 'alive')
 ORDER BY priority DESC, seq
 LIMIT :batch
   FOR UPDATE SKIP LOCKED
;
SELECT t.id, t.fence + 1 AS fence, t.seq, t.is_suspect, t.deaths + t.handovers > 0 AS is_redelivered,
       {waited_s t} AS waited_s, {envelope message t}
  FROM (SELECT ranked.id
          FROM (SELECT ready.id, row_number() OVER (PARTITION BY ready.queue ORDER BY ready.priority DESC, ready.seq) AS turn,
                       row_number() OVER (PARTITION BY ready.is_suspect ORDER BY ready.priority DESC, ready.seq) AS place,
                       ready.is_suspect, found.nth
                  FROM {found}
                  STRAIGHT_JOIN mirepoix_task AS ready FORCE INDEX (mirepoix_task_id) ON ready.id = found.id) AS ranked
         WHERE ranked.is_suspect = 0 OR ranked.place = 1
         ORDER BY ranked.turn, ranked.nth
         LIMIT :batch) AS chosen
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = chosen.id
;
UPDATE {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
   SET {lease t}
 WHERE t.state = 'pending'
