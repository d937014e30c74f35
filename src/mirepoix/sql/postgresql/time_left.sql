-- The seconds that are left of tasks with an expiry.
SELECT t.id, {seconds_until t.expires_at} AS left_s
  FROM json_array_elements_text(CAST(:ids AS json)) AS w(id)
 CROSS JOIN LATERAL (SELECT id, expires_at FROM mirepoix_task WHERE id = w.id OFFSET 0) AS t
 WHERE t.expires_at IS NOT NULL
