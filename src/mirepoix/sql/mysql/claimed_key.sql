-- Who has the key, after it was claimed: it locks, to see what others committed since the caller's transaction first read.
SELECT task_id, task_name, call_hash, shape FROM mirepoix_key WHERE id = :key FOR UPDATE
