-- What workers held that are not alive, with what is known of their end: what ran first.
SELECT t.id, t.fence, t.worker_id, t.name, t.state, t.is_suspect, w.death, w.reason
  FROM mirepoix_task AS t
  JOIN mirepoix_worker AS w ON w.id = t.worker_id
 WHERE t.state IN ('leased', 'running') AND w.state <> 'alive'
 ORDER BY t.worker_id, t.state DESC, t.seq
