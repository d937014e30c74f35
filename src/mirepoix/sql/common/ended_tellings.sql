-- The alerts that a channel was notified of separately, and that ended less than an hour ago.
SELECT a.id, a.kind, a.subject, a.title, a.name, a.task_id, a.queue, a.in_release, a.occasion, a.opened_at, t.tries, a.closed_at
  FROM mirepoix_alert AS a
  JOIN mirepoix_alert_telling AS t ON t.alert_id = a.id AND t.occasion = a.occasion
 WHERE a.closed_at > {earlier 3600} AND t.channel = :channel AND t.told_at IS NOT NULL AND t.is_summed = 0
   AND t.end_told_at IS NULL AND t.due_at <= {now}
 ORDER BY a.closed_at, a.id
