-- Deletes results whose time is over, oldest first.
DELETE FROM mirepoix_result WHERE expires_at < {now} ORDER BY expires_at LIMIT :batch
