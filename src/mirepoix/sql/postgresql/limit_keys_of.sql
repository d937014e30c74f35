-- The keys of these tasks that have a limit, and their headers, which have the weights.
SELECT t.id, t.limit_key, {as_text t.headers} AS headers
  FROM json_array_elements_text(CAST(:ids AS json)) AS w(id)
 CROSS JOIN LATERAL (SELECT id, limit_key, headers FROM mirepoix_task WHERE id = w.id OFFSET 0) AS t
 WHERE t.limit_key IS NOT NULL
