-- The notifications of a channel that are due now. An alert that has ended meanwhile is not sent.
SELECT a.id, a.kind, a.subject, a.title, a.name, a.task_id, a.queue, a.in_release, a.occasion, a.opened_at, t.tries
  FROM mirepoix_alert AS a
  JOIN mirepoix_alert_telling AS t ON t.alert_id = a.id AND t.occasion = a.occasion
 WHERE a.closed_at IS NULL AND t.channel = :channel AND t.told_at IS NULL AND t.due_at <= {now}
 ORDER BY a.opened_at, a.id
