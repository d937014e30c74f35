-- The keys of these tasks that have a limit, and their headers, which have the weights.
SELECT t.id, t.limit_key, {as_text t.headers} AS headers
  FROM JSON_TABLE({json :ids}, '$[*]' COLUMNS (id {id} PATH '$')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
 WHERE t.limit_key IS NOT NULL
