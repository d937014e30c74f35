-- The end of the alert was notified.
UPDATE mirepoix_alert_telling
   SET end_told_at = {now}
 WHERE alert_id = :alert_id AND occasion = :occasion AND channel = :channel AND end_told_at IS NULL
