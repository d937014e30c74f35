-- Claim the notification of an alert's end for :lease_s. Of two processes that claim it, only the first finds the same
-- count of tries.
UPDATE mirepoix_alert_telling
   SET tries = tries + 1, due_at = {later :lease_s}
 WHERE alert_id = :alert_id AND occasion = :occasion AND channel = :channel AND tries = :tries
   AND told_at IS NOT NULL AND end_told_at IS NULL AND due_at <= {now}
