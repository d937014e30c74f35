-- The tasks of workers that are not alive, with the facts about the worker's end. The task that began first comes
-- first.
SELECT t.id, t.fence, t.worker_id, t.name, t.state, t.is_suspect, w.death, w.reason
  FROM mirepoix_task AS t
  JOIN mirepoix_worker AS w ON w.id = t.worker_id
 WHERE t.state IN ('leased', 'running') AND w.state <> 'alive'
 ORDER BY t.worker_id, t.state DESC, t.seq
