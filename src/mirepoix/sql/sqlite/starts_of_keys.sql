-- When tasks of these keys were taken.
SELECT id, starts
  FROM mirepoix_limit_key
 WHERE id IN (SELECT value FROM json_each(:keys))
