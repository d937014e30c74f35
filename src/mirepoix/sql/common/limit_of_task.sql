-- The key of a task's limit, where the task waits, its headers, and what is remembered of the key.
SELECT t.limit_key, t.queue, t.priority, t.seq, {as_text t.headers} AS headers, k.starts
  FROM mirepoix_task AS t
  LEFT JOIN mirepoix_limit_key AS k ON k.id = t.limit_key
 WHERE t.id = :task_id AND t.limit_key IS NOT NULL
