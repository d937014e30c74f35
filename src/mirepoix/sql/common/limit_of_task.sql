-- The key of a task's limit, and what is remembered of the key.
SELECT t.limit_key, k.starts
  FROM mirepoix_task AS t
  LEFT JOIN mirepoix_limit_key AS k ON k.id = t.limit_key
 WHERE t.id = :task_id
