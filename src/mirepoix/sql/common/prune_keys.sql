-- Delete expired keys, oldest first. Their tasks are gone.
DELETE FROM mirepoix_key
 WHERE id IN (SELECT id FROM mirepoix_key WHERE expires_at < {now} ORDER BY expires_at LIMIT :batch)
   AND expires_at < {now}
