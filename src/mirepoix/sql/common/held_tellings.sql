-- The notifications of open alerts that are not sent yet.
SELECT a.id, t.channel
  FROM mirepoix_alert AS a
  JOIN mirepoix_alert_telling AS t ON t.alert_id = a.id AND t.occasion = a.occasion
 WHERE a.closed_at IS NULL AND t.told_at IS NULL AND t.due_at <= {now}
