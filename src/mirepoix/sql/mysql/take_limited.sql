-- transition: pending -> leased
-- Up to so many tasks of each key as its limit has room for, from the queue where the worker met the key. The worker has
-- locked the keys and counted. A worker that was declared dead takes nothing, and at most one task is a suspect. :gates
-- are the queues and keys of :rows. :most is the largest room, because LIMIT takes no column.
-- for each :gate in :gates
SELECT id
  FROM mirepoix_task FORCE INDEX (mirepoix_task_limited)
 WHERE gate = :gate AND (expires_at IS NULL OR expires_at > {now}) AND (is_suspect = 0 OR :suspects = 1)
   AND EXISTS (SELECT 1 FROM mirepoix_worker AS w WHERE w.id = :worker_id AND w.state = 'alive')
 ORDER BY priority DESC, seq
 LIMIT :most
   FOR UPDATE SKIP LOCKED
;
SELECT t.id, t.fence + 1 AS fence, t.seq, t.is_suspect, t.deaths + t.handovers > 0 AS is_redelivered,
       {waited_s t} AS waited_s, t.limit_key, {envelope message t}
  FROM (SELECT ranked.id
          FROM (SELECT ready.id, ready.is_suspect, ready.limit_key,
                       row_number() OVER (PARTITION BY ready.limit_key ORDER BY ready.priority DESC, ready.seq) AS turn,
                       row_number() OVER (PARTITION BY ready.is_suspect ORDER BY ready.priority DESC, ready.seq) AS place
                  FROM {found}
                  STRAIGHT_JOIN mirepoix_task AS ready FORCE INDEX (mirepoix_task_id) ON ready.id = found.id) AS ranked
          JOIN JSON_TABLE({json :rows}, '$[*]' COLUMNS (limit_key {id} PATH '$.limit_key', room int PATH '$.room')) AS r
            ON r.limit_key = ranked.limit_key
         WHERE ranked.turn <= r.room AND (ranked.is_suspect = 0 OR ranked.place = 1)) AS chosen
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = chosen.id
;
UPDATE {found}
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = found.id
   SET {lease t}
 WHERE t.state = 'pending'
