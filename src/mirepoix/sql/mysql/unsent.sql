-- The tasks to publish, at once. A task that its sender has promised to publish gets :grace_s first. If the fence has
-- risen since a task was sent, the task was taken meanwhile and came back. Queues :held_up wait. The column is_unsent
-- replaces the partial index of the other databases.
SELECT id, fence, {envelope message}
  FROM mirepoix_task FORCE INDEX (mirepoix_task_unsent)
 WHERE is_unsent = 1
   AND (sent_fence <> -2 OR fence > 0 OR generation > 0 OR created_at < {earlier :grace_s})
   AND queue NOT IN (SELECT r.queue FROM JSON_TABLE({json :held_up}, '$[*]' COLUMNS (queue {id} PATH '$')) AS r)
 ORDER BY seq
 LIMIT :batch
