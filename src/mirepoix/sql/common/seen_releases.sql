-- The software of the workers in the ledger, when a worker with it was first registered, and how many are alive.
SELECT {as_text w.software} AS software, min(w.started_at) AS first_at,
       sum(CASE WHEN w.state = 'alive' THEN 1 ELSE 0 END) AS alive
  FROM mirepoix_worker AS w
 GROUP BY {as_text w.software}
