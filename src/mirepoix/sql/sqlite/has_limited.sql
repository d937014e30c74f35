-- Whether a queue has ready tasks with a limit.
SELECT wanted.value AS queue
  FROM json_each(:queues) AS wanted
 WHERE EXISTS (SELECT 1
                 FROM mirepoix_task INDEXED BY mirepoix_task_limited
                WHERE queue = wanted.value AND state = 'pending' AND due_at IS NULL AND limit_key IS NOT NULL)
 LIMIT 1
