-- Close an alert, unless it was opened within :steady_s: an observer with an older view must not close it.
UPDATE mirepoix_alert
   SET closed_at = {now}
 WHERE id = :id AND closed_at IS NULL AND opened_at <= {earlier :steady_s}
