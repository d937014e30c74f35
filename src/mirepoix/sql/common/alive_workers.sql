-- The other workers that are believed to be alive.
SELECT id, name, liveness_key FROM mirepoix_worker WHERE state = 'alive' AND id <> :worker_id
