-- The first ready tasks of each key, at most :most of a key, in the order in which they are taken: their headers have the
-- weights. The worker has locked the keys.
SELECT ready.limit_key, ready.priority, ready.seq, {as_text ready.headers} AS headers
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
