-- The tasks to publish, at once. A task that its sender has promised to publish gets :grace_s first. If the fence has
-- risen since a task was sent, the task was taken meanwhile and came back. Queues :held_up wait.
SELECT id, fence, {envelope message}
  FROM mirepoix_task
 WHERE state = 'pending' AND due_at IS NULL AND sent_fence <> fence
   AND (sent_fence <> -2 OR fence > 0 OR generation > 0 OR created_at < {earlier :grace_s})
   AND queue NOT IN (SELECT value FROM json_array_elements_text(CAST(:held_up AS json)) AS w(value))
 ORDER BY seq
 LIMIT :batch
