-- The holder of the key, after an attempt to claim it.
SELECT task_id, task_name, call_hash, shape FROM mirepoix_key WHERE id = :key
