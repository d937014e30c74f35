-- How long ago this worker last received something from each of its queues; at once for one that cannot take anything now.
UPDATE mirepoix_worker SET heard_at = {earlier :silent_s} WHERE id = :worker_id
