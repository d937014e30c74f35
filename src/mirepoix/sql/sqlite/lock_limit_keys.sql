-- The rows of these keys. This transaction has locked the database.
SELECT id, starts
  FROM mirepoix_limit_key
 WHERE id IN (SELECT value FROM json_each(:keys))
