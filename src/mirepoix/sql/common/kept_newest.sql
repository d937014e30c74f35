-- The newest task of a state that waits for a person's decision.
SELECT id AS newest_id, name AS newest_name, reason AS newest_reason
  FROM mirepoix_task
 WHERE state IN ('failed', 'quarantined', 'parked') AND state = :state
 ORDER BY finished_at DESC
 LIMIT 1
