-- The open alerts, the latest first.
SELECT id, kind, subject, title, name, task_id, queue, in_release, occasion, opened_at,
       -({seconds_until opened_at}) AS open_s,
       (SELECT max(t.told_at) FROM mirepoix_alert_telling AS t WHERE t.alert_id = mirepoix_alert.id AND t.occasion = mirepoix_alert.occasion) AS told_at,
       (SELECT max(t.trouble) FROM mirepoix_alert_telling AS t
         WHERE t.alert_id = mirepoix_alert.id AND t.occasion = mirepoix_alert.occasion AND t.told_at IS NULL) AS trouble
  FROM mirepoix_alert
 WHERE closed_at IS NULL
 ORDER BY opened_at DESC, id
