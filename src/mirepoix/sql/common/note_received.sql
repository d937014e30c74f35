-- How long ago this worker last received something from each of its queues. A worker that cannot take anything now
-- writes this at once.
UPDATE mirepoix_worker SET heard_at = {earlier :silent_s} WHERE id = :worker_id
