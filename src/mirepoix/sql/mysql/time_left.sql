-- The seconds that are left of tasks with an expiry.
SELECT t.id, {seconds_until t.expires_at} AS left_s
  FROM JSON_TABLE({json :ids}, '$[*]' COLUMNS (id {id} PATH '$')) AS r
  STRAIGHT_JOIN mirepoix_task AS t FORCE INDEX (mirepoix_task_id) ON t.id = r.id
 WHERE t.expires_at IS NOT NULL
