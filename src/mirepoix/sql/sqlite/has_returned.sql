-- Whether a queue has tasks that are ready again after a worker had them. Suspects count only with :suspects.
SELECT wanted.value AS queue
  FROM json_each(:queues) AS wanted
 WHERE EXISTS (SELECT 1
                 FROM mirepoix_task INDEXED BY mirepoix_task_returned
                WHERE queue = wanted.value AND state = 'pending' AND due_at IS NULL AND fence > 0 AND limit_key IS NULL
                  AND (expires_at IS NULL OR expires_at > {now}) AND (is_suspect = 0 OR :suspects = 1))
 LIMIT 1
