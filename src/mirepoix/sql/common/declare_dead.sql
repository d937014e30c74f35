-- The fence makes a wrong guess harmless: what this worker still runs can no longer write its outcome.
UPDATE mirepoix_worker
   SET state = 'dead', reason = :reason, ended_at = {now}
 WHERE id = :worker_id AND state = 'alive'
RETURNING id
