-- The fire times of a schedule that wait for the end of an earlier run, the oldest first.
SELECT fire_at, cause FROM mirepoix_fire WHERE schedule_id = :name AND state = 'buffered' ORDER BY fire_at
