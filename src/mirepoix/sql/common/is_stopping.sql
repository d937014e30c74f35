-- Whether this worker was asked to stop.
SELECT stopping_at IS NOT NULL AS is_stopping FROM mirepoix_worker WHERE id = :worker_id
