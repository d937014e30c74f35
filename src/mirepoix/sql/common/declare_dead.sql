-- The fence makes a wrong guess harmless: what this worker still runs can no longer write its outcome.
-- One that has sent a heartbeat since it was judged lives.
-- How it died: it was to stop, or its host was started again since (:boot is that of :host, on which the observer runs).
UPDATE mirepoix_worker
   SET state = 'dead', reason = :reason, ended_at = {now},
       death = CASE WHEN stopping_at IS NOT NULL THEN 'stopping'
                    WHEN host = :host AND substr(process, 1, 36) <> :boot THEN 'rebooted'
                    ELSE :death END
 WHERE id = :worker_id AND state = 'alive' AND {as_text heartbeat_at} = :heartbeat
RETURNING id
