-- Lock a key until the end of this transaction, and read which task has it.
SELECT k.task_id
  FROM mirepoix_key AS k
 WHERE k.id = :key
   FOR UPDATE
