-- A worker decides about the fire times up to :until. The guard lets only one worker do that: whoever read an older row
-- changes nothing.
UPDATE mirepoix_schedule
   SET fired_until = :until, next_fire_at = :next_fire_at, next_due_at = :next_due_at
 WHERE id = :name AND revision = :revision AND fired_until = :was_until AND removed_at IS NULL
