-- What the broker has to be told of: at once, but for what its sender has promised to publish itself, which gets :grace_s.
-- A fence that has risen since it was sent says that it was taken meanwhile, and came back. Queues :held_up wait.
-- The column is_unsent stands for the partial index of the others.
SELECT id, fence, {envelope message}
  FROM mirepoix_task FORCE INDEX (mirepoix_task_unsent)
 WHERE is_unsent = 1
   AND (sent_fence <> -2 OR fence > 0 OR generation > 0 OR created_at < {earlier :grace_s})
   AND queue NOT IN (SELECT r.queue FROM JSON_TABLE({json :held_up}, '$[*]' COLUMNS (queue {id} PATH '$')) AS r)
 ORDER BY seq
 LIMIT :batch
