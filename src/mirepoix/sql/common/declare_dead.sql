-- The fence makes a wrong guess harmless: what this worker still runs can no longer write its outcome.
-- One that has sent a heartbeat since it was judged lives.
UPDATE mirepoix_worker
   SET state = 'dead', reason = :reason, ended_at = {now}
 WHERE id = :worker_id AND state = 'alive' AND {as_text heartbeat_at} = :heartbeat
RETURNING id
