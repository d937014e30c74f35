-- The first ready tasks of each key, at most room of a key, in the order in which they are taken: their headers have the
-- weights. The worker has locked the keys.
SELECT w.limit_key, ready.priority, ready.seq, {as_text ready.headers} AS headers
  FROM json_to_recordset(CAST(:rows AS json)) AS w(queue text, limit_key text, room integer)
 CROSS JOIN LATERAL (
       SELECT priority, seq, headers
         FROM mirepoix_task
        WHERE queue = w.queue AND limit_key = w.limit_key
          AND CASE WHEN state = 'pending' AND due_at IS NULL THEN limit_key END IS NOT NULL
          AND (expires_at IS NULL OR expires_at > now()) AND (is_suspect = 0 OR :suspects = 1)
        ORDER BY priority DESC, seq
        LIMIT w.room) AS ready
