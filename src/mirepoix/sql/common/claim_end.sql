-- The right to tell for :lease_s that it is over: of two tellers one finds the count of tries as it was.
UPDATE mirepoix_alert_telling
   SET tries = tries + 1, due_at = {later :lease_s}
 WHERE alert_id = :alert_id AND occasion = :occasion AND channel = :channel AND tries = :tries
   AND told_at IS NOT NULL AND end_told_at IS NULL AND due_at <= {now}
