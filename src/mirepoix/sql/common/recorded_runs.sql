-- The attempts that succeeded lately and ran, the newest first, at most :cap. It uses the index on the finishing time.
SELECT name, queue, priority, seq, worker_id, pid, waited_s, -({seconds_until leased_at}) AS leased_ago_s,
       -({seconds_until started_at}) AS started_ago_s, -({seconds_until finished_at}) AS finished_ago_s, run_time_s,
       peak_memory_kb
  FROM mirepoix_task {by mirepoix_task_finished}
 WHERE state IN ('succeeded', 'cancelled', 'expired') AND state = 'succeeded' AND finished_at > {earlier :since_s}
 ORDER BY finished_at DESC
 LIMIT :cap
