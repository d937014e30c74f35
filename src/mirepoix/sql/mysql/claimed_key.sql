-- The holder of the key, after an attempt to claim it. It locks, in order to see what others committed after the
-- caller's transaction first read.
SELECT task_id, task_name, call_hash, shape FROM mirepoix_key WHERE id = :key FOR UPDATE
