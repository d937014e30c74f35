-- The oldest tasks of a kind, without those that were tried already.
SELECT id
  FROM mirepoix_task
 WHERE state = 'parked' AND parked_for IS NOT NULL AND shape = :shape
   AND queue IN (SELECT value FROM json_array_elements_text(CAST(:queues AS json)) AS w(value))
   AND id NOT IN (SELECT value FROM json_array_elements_text(CAST(:tried AS json)) AS w(value))
 ORDER BY seq
 LIMIT :batch
