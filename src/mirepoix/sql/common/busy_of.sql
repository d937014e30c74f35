-- The tasks that workers have of a queue, a name, a limit or a worker: what :kind says. :prefix is what the keys of a limit
-- begin with; it is empty for one key.
SELECT sum(CASE WHEN t.state = 'running' THEN 1 ELSE 0 END) AS running,
       sum(CASE WHEN t.state = 'leased' THEN 1 ELSE 0 END) AS taken
  FROM mirepoix_task AS t
 WHERE t.state IN ('leased', 'running')
   AND ((:kind = 'queue' AND t.queue = :value) OR (:kind = 'task' AND t.name = :value)
        OR (:kind = 'worker' AND t.worker_id = :value)
        OR (:kind = 'limit' AND (t.limit_key = :value
                                 OR (:length > 0 AND substr(t.limit_key, 1, :length) = :prefix))))
