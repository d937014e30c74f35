-- How long ago this worker last heard something from each of its queues; at once for one that cannot take anything now.
UPDATE mirepoix_worker SET heard_at = {earlier :heard_s} WHERE id = :worker_id
