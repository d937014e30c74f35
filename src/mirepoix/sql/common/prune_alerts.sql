-- What has been over for long; its tellings go with it.
DELETE FROM mirepoix_alert WHERE closed_at < {earlier :seconds}
