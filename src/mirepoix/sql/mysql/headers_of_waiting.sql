-- The first ready tasks of each key, at most :most of a key, in the order in which they are taken: their headers have the
-- weights. The worker has locked the keys.
-- for each :gate in :gates
SELECT limit_key, priority, seq, {as_text headers} AS headers
  FROM mirepoix_task FORCE INDEX (mirepoix_task_limited)
 WHERE gate = :gate AND (expires_at IS NULL OR expires_at > {now}) AND (is_suspect = 0 OR :suspects = 1)
 ORDER BY priority DESC, seq
 LIMIT :most
