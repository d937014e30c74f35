-- Whether the worker that holds this task is not alive, as far as the ledger knows.
SELECT CASE WHEN w.id IS NULL OR w.state <> 'alive' OR w.alive_until < {now} THEN 1 ELSE 0 END AS is_gone
  FROM mirepoix_task AS t
  LEFT JOIN mirepoix_worker AS w ON w.id = t.worker_id
 WHERE t.id = :task_id AND t.state IN ('leased', 'running')
