-- Over. Not what was opened within :steady_s: a watcher whose look is older than that must not close it.
UPDATE mirepoix_alert
   SET closed_at = {now}
 WHERE id = :id AND closed_at IS NULL AND opened_at <= {earlier :steady_s}
