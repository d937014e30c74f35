-- Delete expired results, oldest first.
DELETE FROM mirepoix_result
 WHERE task_id IN (SELECT task_id FROM mirepoix_result WHERE expires_at < {now} ORDER BY expires_at LIMIT :batch)
   AND expires_at < {now}
