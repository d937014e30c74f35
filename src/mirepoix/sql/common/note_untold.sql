-- The channel refused the notification. Try again later, unless another process has tried meanwhile.
UPDATE mirepoix_alert_telling
   SET due_at = {later :delay_s}, trouble = :trouble
 WHERE alert_id = :alert_id AND occasion = :occasion AND channel = :channel AND tries = :tries AND told_at IS NULL
