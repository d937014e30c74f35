-- How many messages, and how many summaries, a channel got within the hour.
SELECT coalesce(sum(CASE WHEN is_summed = 0 THEN 1 ELSE 0 END), 0), coalesce(sum(is_summed), 0)
  FROM mirepoix_alert_telling
 WHERE channel = :channel AND told_at > {earlier 3600}
