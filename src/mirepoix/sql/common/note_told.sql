-- The notification was sent. A sender that took longer than its claim writes this too.
UPDATE mirepoix_alert_telling
   SET told_at = {now}, due_at = {now}, is_summed = :is_summed, trouble = NULL
 WHERE alert_id = :alert_id AND occasion = :occasion AND channel = :channel AND told_at IS NULL
