-- The tasks that succeeded lately, the newest first, at most :cap. It uses the index on the finishing time. A task is
-- ready from when it was sent or from its ETA, whichever is later.
SELECT queue, name, run_time_s, -({seconds_until finished_at}) AS ago_s,
       -({seconds_until CASE WHEN eta > created_at THEN eta ELSE created_at END}) AS arrived_ago_s
  FROM mirepoix_task {by mirepoix_task_finished}
 WHERE state IN ('succeeded', 'cancelled', 'expired') AND state = 'succeeded' AND finished_at > {earlier :since_s}
 ORDER BY finished_at DESC
 LIMIT :cap
