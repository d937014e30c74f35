-- Plan the notification of an alert that has just opened, unless it ends before :delay_s.
INSERT INTO mirepoix_alert_telling (alert_id, occasion, channel, due_at)
SELECT id, occasion, :channel, {later :delay_s} FROM mirepoix_alert WHERE id = :id
