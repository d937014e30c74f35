-- How far a task is, and for how long, in seconds.
SELECT t.state, -({seconds_until t.created_at}) AS sent_for_s, -({seconds_until t.started_at}) AS started_for_s,
       -({seconds_until t.finished_at}) AS ended_for_s
  FROM mirepoix_task AS t
 WHERE t.id = :task_id
