-- The oldest fire time of each schedule that waits for the end of an earlier run, if no run waits or runs any more. SQLite
-- uses the index of open fire times only for its own condition.
SELECT f.schedule_id, f.fire_at, f.cause
  FROM (SELECT schedule_id, fire_at, cause, row_number() OVER (PARTITION BY schedule_id ORDER BY fire_at) AS place
          FROM mirepoix_fire
         WHERE state IN ('sent', 'buffered') AND state = 'buffered'
           AND schedule_id NOT IN (SELECT g.schedule_id
                                     FROM mirepoix_fire AS g
                                     JOIN mirepoix_task AS t ON t.id = g.task_id
                                    WHERE g.state IN ('sent', 'buffered') AND g.state = 'sent'
                                      AND t.state IN ('pending', 'leased', 'running'))) AS f
  JOIN mirepoix_schedule AS s ON s.id = f.schedule_id
 WHERE f.place = 1 AND s.removed_at IS NULL AND s.paused_at IS NULL
 ORDER BY f.schedule_id
