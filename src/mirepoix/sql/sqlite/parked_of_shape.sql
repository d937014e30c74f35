-- The oldest tasks of a kind, without those that were tried already.
SELECT id
  FROM mirepoix_task
 WHERE state = 'parked' AND parked_for IS NOT NULL AND shape = :shape
   AND queue IN (SELECT value FROM json_each(:queues))
   AND id NOT IN (SELECT value FROM json_each(:tried))
 ORDER BY seq
 LIMIT :batch
