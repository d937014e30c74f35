-- The fire times of a schedule that wait for the end of an earlier run, the oldest first. SQLite would read all fire times
-- of the schedule.
SELECT fire_at, cause
  FROM mirepoix_fire INDEXED BY mirepoix_fire_open
 WHERE schedule_id = :name AND state IN ('sent', 'buffered') AND state = 'buffered'
 ORDER BY fire_at
