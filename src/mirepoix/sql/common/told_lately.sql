-- The number of single notifications that a channel got within the hour, and how long ago it got its latest summary.
SELECT coalesce(sum(CASE WHEN is_summed = 0 THEN 1 ELSE 0 END), 0) AS messages,
       -({seconds_until max(CASE WHEN is_summed = 1 THEN told_at END)}) AS summed_s,
       max(CASE WHEN is_summed = 1 THEN told_at END) AS summed_at
  FROM mirepoix_alert_telling
 WHERE channel = :channel AND told_at > {earlier 3600}
