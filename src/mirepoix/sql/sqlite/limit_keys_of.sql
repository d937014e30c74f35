-- The keys of these tasks that have a limit, and their headers, which have the weights.
SELECT id, limit_key, {as_text headers} AS headers
  FROM mirepoix_task
 WHERE id IN (SELECT value FROM json_each(:ids)) AND limit_key IS NOT NULL
