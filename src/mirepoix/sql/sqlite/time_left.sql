-- The seconds that are left of tasks with an expiry.
SELECT id, {seconds_until expires_at} AS left_s
  FROM mirepoix_task
 WHERE id IN (SELECT value FROM json_each(:ids)) AND expires_at IS NOT NULL
