-- The id of a waiting task whose expiry has passed, or null.
SELECT min(id) AS id FROM mirepoix_task WHERE state = 'pending' AND expires_at <= {now}
