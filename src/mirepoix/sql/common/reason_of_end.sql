-- The evidence when the worker was declared dead.
SELECT reason FROM mirepoix_worker WHERE id = :worker_id AND state = 'dead'
