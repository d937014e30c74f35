-- Which task has the key. The attempt to claim it has locked the database.
SELECT k.task_id
  FROM mirepoix_key AS k
 WHERE k.id = :key
