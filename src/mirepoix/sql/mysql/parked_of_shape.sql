-- The oldest tasks of a kind, without those that were tried already.
SELECT id
  FROM mirepoix_task
 WHERE parked_shape = :shape
   AND queue IN (SELECT r.queue FROM JSON_TABLE({json :queues}, '$[*]' COLUMNS (queue {id} PATH '$')) AS r)
   AND id NOT IN (SELECT r.id FROM JSON_TABLE({json :tried}, '$[*]' COLUMNS (id {id} PATH '$')) AS r)
 ORDER BY seq
 LIMIT :batch
