-- The channels that were notified separately of an alert that ended less than an hour ago.
SELECT DISTINCT t.channel
  FROM mirepoix_alert AS a
  JOIN mirepoix_alert_telling AS t ON t.alert_id = a.id AND t.occasion = a.occasion
 WHERE a.closed_at > {earlier 3600} AND t.told_at IS NOT NULL AND t.is_summed = 0 AND t.end_told_at IS NULL AND t.due_at <= {now}
