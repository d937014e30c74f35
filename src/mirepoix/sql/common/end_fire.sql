-- The run of a fire time has ended.
UPDATE mirepoix_fire
   SET state = :state, reason = :reason, ended_at = :now
 WHERE schedule_id = :name AND fire_at = :fire_at AND state = 'sent'
