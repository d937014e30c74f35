-- Decide again about a fire time: a buffered one is sent or skipped, a missed one is backfilled.
UPDATE mirepoix_fire
   SET state = :state, reason = :reason, cause = :cause, task_id = :task_id, decided_at = :now
 WHERE schedule_id = :name AND fire_at = :fire_at AND state = :was
