-- What was seen when it was declared dead.
SELECT reason FROM mirepoix_worker WHERE id = :worker_id AND state = 'dead'
