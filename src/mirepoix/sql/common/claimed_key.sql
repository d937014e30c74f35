-- Who has the key, after it was claimed.
SELECT task_id, task_name, call_hash, shape FROM mirepoix_key WHERE id = :key
