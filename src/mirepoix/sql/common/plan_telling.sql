-- Have a channel told of the occasion that was just opened, unless it is over before :delay_s.
INSERT INTO mirepoix_alert_telling (alert_id, occasion, channel, due_at)
SELECT id, occasion, :channel, {later :delay_s} FROM mirepoix_alert WHERE id = :id
