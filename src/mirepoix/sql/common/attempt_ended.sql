-- An attempt that did not succeed, and how long ago it was leased, began and ended.
SELECT a.task_id, a.fence, coalesce(a.name, t.name) AS name, coalesce(a.queue, t.queue) AS queue, t.retries, a.outcome,
       {as_text t.headers} AS headers, -({seconds_until a.leased_at}) AS leased_ago_s,
       -({seconds_until a.started_at}) AS started_ago_s, -({seconds_until a.finished_at}) AS finished_ago_s,
       a.waited_s, a.error_type, a.signal
  FROM mirepoix_attempt AS a
  JOIN mirepoix_task AS t ON t.id = a.task_id
 WHERE a.task_id = :task_id AND a.fence = :fence
