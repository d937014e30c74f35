-- Their heartbeat stayed out: a lost host, a cut network or a stopped process.
UPDATE mirepoix_worker
   SET state = 'dead', reason = 'its heartbeat stayed out', ended_at = {now}
 WHERE state = 'alive' AND alive_until < {now}
RETURNING id, name
