-- Delete alerts that ended long ago, with their notifications.
DELETE FROM mirepoix_alert WHERE closed_at < {earlier :seconds}
