-- All columns of a task.
SELECT t.id, t.name, t.queue, t.priority, t.state, t.reason, t.generation, t.fence, t.retries, t.deaths, t.handovers,
       t.root_id, t.parent_id, t.group_id, t.created_at, t.eta, t.due_at, t.expires_at, t.leased_at, t.started_at,
       t.finished_at, t.run_time_s, t.peak_memory_kb, t.worker_id, w.name AS worker, w.state AS worker_state,
       t.pid, t.content_type, t.body_encoding, t.body, {as_text t.headers} AS headers, {seconds_until t.due_at} AS due_in_s,
       -({seconds_until t.started_at}) AS running_for_s,
       t.version, t.shape, t.parked_for, t.held_by,
       (SELECT min(k.id) FROM mirepoix_key AS k WHERE k.task_id = t.id AND k.id NOT LIKE ' %') AS submitted_as
  FROM mirepoix_task AS t
  LEFT JOIN mirepoix_worker AS w ON w.id = t.worker_id
 WHERE t.id = :task_id
