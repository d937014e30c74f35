-- The notifications of an alert's present or last occasion, by channel.
SELECT channel, due_at, tries, told_at, is_summed, trouble, end_told_at
  FROM mirepoix_alert_telling
 WHERE alert_id = :alert_id AND occasion = :occasion
 ORDER BY channel
