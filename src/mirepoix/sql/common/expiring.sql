-- The id of a waiting task with a passed expiry, or null.
SELECT min(id) AS id FROM mirepoix_task WHERE state = 'pending' AND expires_at <= {now}
