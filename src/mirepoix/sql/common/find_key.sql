SELECT task_id, task_name, call_hash, shape FROM mirepoix_key WHERE id = :key
