-- The newest task of one of the states that are kept until someone decides.
SELECT id, name, reason
  FROM mirepoix_task
 WHERE state IN ('failed', 'quarantined', 'parked') AND state = :state
 ORDER BY finished_at DESC
 LIMIT 1
