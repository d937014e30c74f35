-- The tasks that a replay ran again, and their outcome. Fence and generation rise when a worker takes a task or
-- somebody sends it again.
SELECT r.task_id, r.fence, r.generation, r.state, r.reason, r.finished_at, r.expires_at, r.retries, r.deaths, r.handovers,
       t.state AS state_now, t.fence - r.fence AS leases, t.generation - r.generation AS messages, t.retries AS retries_now,
       r.undone_at
  FROM mirepoix_replayed AS r
  JOIN mirepoix_task AS t ON t.id = r.task_id
 WHERE r.replay_id = :replay_id
 ORDER BY r.replayed_at, t.seq
