-- A wrong decision does no harm: because of the fence, a worker that still runs can no longer write outcomes. A worker
-- that has sent a heartbeat since the decision stays alive. The reason says whether the worker was to stop, or its host
-- has restarted since (:boot is the boot of :host, where the observer runs).
UPDATE mirepoix_worker
   SET state = 'dead', reason = :reason, ended_at = {now},
       death = CASE WHEN stopping_at IS NOT NULL THEN 'stopping'
                    WHEN host = :host AND substr(process, 1, 36) <> :boot THEN 'rebooted'
                    ELSE :death END
 WHERE id = :worker_id AND state = 'alive' AND {as_text heartbeat_at} = :heartbeat
RETURNING id
